// MEAN, as the runtime's XNNPACK adds up: rows one after the other, and the values of a row in as many
// sums as an AVX-512 kernel of its has, whatever the processor, so that results are the same on all.
#include <algorithm>

#include "error.h"
#include "float_ops.h"

namespace siman {

Dims Mean::dims_of(const Dims& input) const {
  Dims output(input.begin(), input.begin() + first);
  if (keeps_axes) output.insert(output.end(), end - first, 1);
  output.insert(output.end(), input.begin() + end, input.end());
  return output;
}

namespace {

class MeanOp final : public Op {
 public:
  MeanOp(const Kernel& kernel, const Mean& mean) : Op("MEAN", kernel), mean_(mean) {}

  Dims prepare(const std::vector<Dims>& inputs) override {
    const Dims& input = inputs[0];
    const auto product = [&](int begin, int end) {
      return elements(name_, Dims(input.begin() + begin, input.begin() + end));
    };
    elements(name_, input);
    outer_ = product(0, mean_.first);
    rows_ = product(mean_.first, mean_.end);
    columns_ = product(mean_.end, static_cast<int>(input.size()));
    return mean_.dims_of(input);
  }

  void run(const std::vector<const void*>& inputs, void* output,
           const Workspace& workspace) override {
    const auto* values = static_cast<const float*>(inputs[0]);
    auto* means = static_cast<float*>(output);
    const float share = 1.0f / static_cast<float>(rows_);
    if (columns_ == 1) {
      for (std::int64_t i = 0; i < outer_; ++i) means[i] = sum(values + i * rows_) * share;
      return;
    }
    const std::int64_t grain = rows_ * columns_ <= kernel_.values_alone ? columns_ : kColumns;
    for (std::int64_t i = 0; i < outer_; ++i, values += rows_ * columns_, means += columns_) {
      workspace.pool.run(columns_, grain, [&](std::int64_t begin, std::int64_t end) {
        kernel_.add_rows(values + begin, rows_, columns_, end - begin, means + begin);
        for (std::int64_t c = begin; c < end; ++c) means[c] *= share;
      });
    }
  }

 private:
  static constexpr int kColumns = 16;  // a line of the cache
  static constexpr int kSums = 64;

  float sum(const float* values) const {
    float sums[kSums] = {};
    for (std::int64_t from = 0; from < rows_; from += kSums) {
      const int count = static_cast<int>(std::min<std::int64_t>(rows_ - from, kSums));
      for (int i = 0; i < count; ++i) sums[i] += values[from + i];
    }
    for (int i = 0; i < kColumns; ++i) {
      sums[i] = (sums[i] + sums[i + 16]) + (sums[i + 32] + sums[i + 48]);
    }
    for (int half = kColumns / 2; half > 0; half /= 2) {
      for (int i = 0; i < half; ++i) sums[i] += sums[i + half];
    }
    return sums[0];
  }

  const Mean mean_;
  std::int64_t outer_ = 0;
  std::int64_t rows_ = 0;
  std::int64_t columns_ = 0;
};

}  // namespace

std::unique_ptr<Op> make_mean(const Kernel& kernel, const Mean& mean) {
  return std::make_unique<MeanOp>(kernel, mean);
}

}  // namespace siman
