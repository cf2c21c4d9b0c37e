// LceBMaxPool2d: the largest of -1 and +1 under a window, which is the AND of its bits.
#include <algorithm>

#include "error.h"
#include "image_pool.h"

namespace siman {
namespace {

class MaxPool final : public ImagePool<std::uint32_t> {
 public:
  MaxPool(const Kernel& kernel, const Options& options) : ImagePool("LceBMaxPool2d", kernel, 4) {
    options.allow_only({"padding", "stride_width", "stride_height", "filter_width",
                        "filter_height"});
    rows_.size = options.get("filter_height", 1, 1 << 15);
    columns_.size = options.get("filter_width", 1, 1 << 15);
    rows_.stride = options.get("stride_height", 1, 1 << 15);
    columns_.stride = options.get("stride_width", 1, 1 << 15);
    rows_.same = columns_.same = options.get("padding", 0, 1) == 0;
  }

 private:
  void pool_row(const std::uint32_t* image, int y, std::uint32_t* output) const override {
    const int first = std::max(rows_.at(y, 0), 0);
    const int last = std::min(rows_.at(y, rows_.size), rows_.input);
    for (int x = 0; x < columns_.output; ++x, output += depth_) {
      const int left = std::max(columns_.at(x, 0), 0);
      const int right = std::min(columns_.at(x, columns_.size), columns_.input);
      for (int w = 0; w < depth_; ++w) output[w] = ~std::uint32_t{0};
      for (int iy = first; iy < last; ++iy) {
        for (int ix = left; ix < right; ++ix) {
          const std::uint32_t* from = image + (std::int64_t{iy} * columns_.input + ix) * depth_;
          for (int w = 0; w < depth_; ++w) output[w] &= from[w];
        }
      }
    }
  }
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
