// MAX_POOL_2D of float32.
#include <algorithm>

#include "float_ops.h"
#include "image_pool.h"

namespace siman {
namespace {

class FloatMaxPoolOp final : public ImagePool<float> {
 public:
  FloatMaxPoolOp(const Kernel& kernel, const FloatMaxPool& pool)
      : ImagePool("MAX_POOL_2D", kernel, 1), bounds_(pool.bounds) {
    rows_ = pool.rows;
    columns_ = pool.columns;
  }

 private:
  void pool_row(const float* image, int y, float* output) const override {
    const int first = std::max(rows_.at(y, 0), 0);
    const int last = std::min(rows_.at(y, rows_.size), rows_.input);
    const std::int64_t stride = std::int64_t{columns_.input} * depth_;
    float* to = output;
    for (int x = 0; x < columns_.output; ++x, to += depth_) {
      const int left = std::max(columns_.at(x, 0), 0);
      const int right = std::min(columns_.at(x, columns_.size), columns_.input);
      const float* corner = image + first * stride + std::int64_t{left} * depth_;
      kernel_.largest(corner, last - first, right - left, stride, depth_, to);
    }
    const Stage bounded = {Stage::Kind::kKeep, Stage::Other::kNone, 0, nullptr, 0, bounds_};
    kernel_.apply(bounded, output, nullptr, to - output, output);
  }

  const Bounds bounds_;
};

}  // namespace

std::unique_ptr<Op> make_float_max_pool(const Kernel& kernel, const FloatMaxPool& pool) {
  return std::make_unique<FloatMaxPoolOp>(kernel, pool);
}

}  // namespace siman
