// MAX_POOL_2D of float32.
#include <algorithm>

#include "error.h"
#include "float_ops.h"

namespace siman {
namespace {

class FloatMaxPoolOp final : public Op {
 public:
  FloatMaxPoolOp(const Kernel& kernel, const FloatMaxPool& pool)
      : Op("MAX_POOL_2D", kernel), rows_(pool.rows), columns_(pool.columns), bounds_(pool.bounds) {}

  Dims prepare(const std::vector<Dims>& inputs) override {
    const Dims& input = inputs[0];
    if (input.size() != 4) fail(name_, ": an input of rank ", input.size(), "; 4 is needed.");
    elements(name_, input);
    rows_.fit(name_, input[1]);
    columns_.fit(name_, input[2]);
    batch_ = input[0];
    channels_ = input[3];
    const Dims output = {batch_, rows_.output, columns_.output, channels_};
    elements(name_, output);
    return output;
  }

  void run(const std::vector<const void*>& inputs, void* output,
           const Workspace& workspace) override {
    const auto* from = static_cast<const float*>(inputs[0]);
    auto* to = static_cast<float*>(output);
    const std::int64_t image = std::int64_t{rows_.input} * columns_.input * channels_;
    const std::int64_t row_out = std::int64_t{columns_.output} * channels_;
    workspace.pool.run(std::int64_t{batch_} * rows_.output, 1,
                       [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t row = begin; row < end; ++row) {
        pool_row(from + row / rows_.output * image, static_cast<int>(row % rows_.output),
                 to + row * row_out);
      }
    });
  }

 private:
  void pool_row(const float* image, int y, float* output) const {
    const int first = std::max(rows_.at(y, 0), 0);
    const int last = std::min(rows_.at(y, rows_.size), rows_.input);
    const std::int64_t stride = std::int64_t{columns_.input} * channels_;
    float* to = output;
    for (int x = 0; x < columns_.output; ++x, to += channels_) {
      const int left = std::max(columns_.at(x, 0), 0);
      const int right = std::min(columns_.at(x, columns_.size), columns_.input);
      const float* corner = image + first * stride + std::int64_t{left} * channels_;
      kernel_.largest(corner, last - first, right - left, stride, channels_, to);
    }
    const Stage bounded = {Stage::Kind::kKeep, Stage::Other::kNone, 0, nullptr, 0, bounds_};
    kernel_.apply(bounded, output, nullptr, to - output, output);
  }

  Window rows_;
  Window columns_;
  const Bounds bounds_;
  int batch_ = 0;
  int channels_ = 0;
};

}  // namespace

std::unique_ptr<Op> make_float_max_pool(const Kernel& kernel, const FloatMaxPool& pool) {
  return std::make_unique<FloatMaxPoolOp>(kernel, pool);
}

}  // namespace siman
