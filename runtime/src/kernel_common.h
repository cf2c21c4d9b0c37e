// Outputs from counts, the same for all instruction sets; every file that includes this compiles
// it for its own. Anonymous, so that no linker puts one set's code in place of another's.
#ifndef SIMAN_KERNEL_COMMON_H_
#define SIMAN_KERNEL_COMMON_H_

#include "kernel.h"

namespace siman {
namespace {

inline float transformed(std::int32_t count, const Transform& transform, int lane) {
  std::int32_t doubled = 2 * count;
  doubled = doubled < transform.low ? transform.low : doubled;
  doubled = doubled > transform.high ? transform.high : doubled;
  return static_cast<float>(doubled) * transform.multiplier[lane] + transform.bias[lane];
}

void to_float(const std::int32_t* __restrict counts, int pixels, const Transform& transform,
              float* __restrict output, std::ptrdiff_t stride) {
  const Transform t = transform;
  for (int p = 0; p < pixels; ++p, counts += kLanes, output += stride) {
    for (int lane = 0; lane < kLanes; ++lane) output[lane] = transformed(counts[lane], t, lane);
  }
}

void to_int8(const std::int32_t* __restrict counts, int pixels, const Transform& transform,
             std::int8_t* __restrict output, std::ptrdiff_t stride) {
  const Transform t = transform;
  for (int p = 0; p < pixels; ++p, counts += kLanes, output += stride) {
    for (int lane = 0; lane < kLanes; ++lane) {
      float value = transformed(counts[lane], t, lane);
      value = value > -200.0f ? value : -200.0f;  // beyond both ends, and no number either
      value = value < 200.0f ? value : 200.0f;
      const int whole = static_cast<int>(value);
      const float rest = value - static_cast<float>(whole);
      int rounded = whole + (rest >= 0.5f) - (rest <= -0.5f);
      rounded = rounded < -128 ? -128 : rounded;
      output[lane] = static_cast<std::int8_t>(rounded > 127 ? 127 : rounded);
    }
  }
}

[[maybe_unused]] void to_bits(const std::int32_t* counts, int pixels, const Transform& transform,
                              std::uint32_t* output) {
  for (int p = 0; p < pixels; ++p, counts += kLanes) {
    std::uint32_t bits = 0;
    for (int lane = 0; lane < kLanes; ++lane) {
      bits |= static_cast<std::uint32_t>(counts[lane] > transform.threshold[lane]) << lane;
    }
    output[p] = bits;
  }
}

}  // namespace
}  // namespace siman

#endif  // SIMAN_KERNEL_COMMON_H_
