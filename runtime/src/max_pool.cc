// LceBMaxPool2d: the largest of -1 and +1 under a window, which is the AND of its bits.
#include <algorithm>

#include "error.h"
#include "ops.h"
#include "window.h"

namespace siman {
namespace {

class MaxPool final : public Op {
 public:
  MaxPool(const Kernel& kernel, const Options& options) : Op("LceBMaxPool2d", kernel) {
    options.allow_only({"padding", "stride_width", "stride_height", "filter_width",
                        "filter_height"});
    rows_.size = options.get("filter_height", 1, 1 << 15);
    columns_.size = options.get("filter_width", 1, 1 << 15);
    rows_.stride = options.get("stride_height", 1, 1 << 15);
    columns_.stride = options.get("stride_width", 1, 1 << 15);
    rows_.same = columns_.same = options.get("padding", 0, 1) == 0;
  }

  Dims prepare(const std::vector<Dims>& inputs) override {
    const Dims& input = inputs[0];
    if (input.size() != 4) fail(name_, ": an input of rank ", input.size(), "; 4 is needed.");
    elements(name_, input);
    rows_.fit(name_, input[1]);
    columns_.fit(name_, input[2]);
    batch_ = input[0];
    words_ = input[3];
    const Dims output = {batch_, rows_.output, columns_.output, words_};
    elements(name_, output);
    return output;
  }

  void run(const std::vector<const void*>& inputs, void* output,
           const Workspace& workspace) override {
    const auto* from = static_cast<const std::uint32_t*>(inputs[0]);
    auto* to = static_cast<std::uint32_t*>(output);
    const std::int64_t image = std::int64_t{rows_.input} * columns_.input * words_;
    const std::int64_t rows = std::int64_t{batch_} * rows_.output;
    workspace.pool.run(rows, 4, [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t row = begin; row < end; ++row) {
        pool_row(from + row / rows_.output * image, static_cast<int>(row % rows_.output),
                 to + row * columns_.output * words_);
      }
    });
  }

 private:
  void pool_row(const std::uint32_t* image, int y, std::uint32_t* output) const {
    const int first = std::max(rows_.at(y, 0), 0);
    const int last = std::min(rows_.at(y, rows_.size), rows_.input);
    for (int x = 0; x < columns_.output; ++x, output += words_) {
      const int left = std::max(columns_.at(x, 0), 0);
      const int right = std::min(columns_.at(x, columns_.size), columns_.input);
      for (int w = 0; w < words_; ++w) output[w] = ~std::uint32_t{0};
      for (int iy = first; iy < last; ++iy) {
        for (int ix = left; ix < right; ++ix) {
          const std::uint32_t* from = image + (std::int64_t{iy} * columns_.input + ix) * words_;
          for (int w = 0; w < words_; ++w) output[w] &= from[w];
        }
      }
    }
  }

  Window rows_;
  Window columns_;
  int batch_ = 0;
  int words_ = 0;
};

}  // namespace

std::unique_ptr<Op> make_max_pool(const Kernel& kernel, const Options& options,
                                  const Inputs& inputs, const Tensor& output) {
  if (inputs.size() != 1 || !inputs[0] || inputs[0]->type != Type::kBits ||
      output.type != Type::kBits) {
    fail("LceBMaxPool2d: it takes one int32 input and gives one int32 output. The model is "
         "damaged: convert it again with larq-compute-engine 0.16.0.");
  }
  return std::make_unique<MaxPool>(kernel, options);
}

}  // namespace siman
