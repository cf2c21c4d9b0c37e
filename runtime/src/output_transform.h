// What a binary convolution makes of its counts, by output channel: see `Transform`.
//
// With K signs in a receptive field of which n differ from the filter's, the sum is K - 2 n. The
// output is float(clamp(2 n)) * (-multiplier / scale) + (bias + K * multiplier) / scale + zero
// point, the factors in double and stored as float, as Larq Compute Engine has it.
#ifndef SIMAN_OUTPUT_TRANSFORM_H_
#define SIMAN_OUTPUT_TRANSFORM_H_

#include <cstdint>
#include <string>
#include <vector>

#include "ops.h"
#include "packed_filter.h"

namespace siman {

enum Activation { kNone = 0, kRelu = 1, kReluN1To1 = 2, kRelu6 = 3 };

class OutputTransform {
 public:
  // From the op's inputs 2 to 4, whose data must live on. Throws Error for what does not fit filter
  // and output.
  OutputTransform(const std::string& op, const Inputs& inputs, const Tensor& output,
                  const PackedFilter& filter, int activation);

  static std::int64_t bytes(const PackedFilter& filter) {
    return filter.lanes() * std::int64_t{sizeof(float) * 2 + sizeof(std::int32_t)};
  }
  void build(const PackedFilter& filter);  // before those below
  Transform of(std::size_t lane) const {  // and those behind it
    return {is_bounded_, low_, high_, &multiplier_[lane], &bias_[lane], &threshold_[lane]};
  }
  // What a sum of signs is multiplied by, negated.
  std::vector<float> multiplier() const;

 private:
  // The file's: thresholds for outputs of bits, else the other two.
  const float* multipliers_ = nullptr;
  const float* biases_ = nullptr;
  const std::int32_t* thresholds_ = nullptr;
  double scale_ = 1;
  double zero_point_ = 0;

  // Counts need no doubling where the multipliers are doubled.
  bool is_bounded_;
  // By lane: all blocks one behind the other.
  std::vector<float> multiplier_;
  std::vector<float> bias_;
  std::vector<std::int32_t> threshold_;
  std::int32_t low_ = 0;
  std::int32_t high_ = 0;
};

}  // namespace siman

#endif  // SIMAN_OUTPUT_TRANSFORM_H_
