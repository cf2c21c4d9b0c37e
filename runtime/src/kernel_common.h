// Outputs from counts, the same for all instruction sets; every file that includes this compiles
// it for its own. Anonymous, so that no linker puts one set's code in place of another's.
#ifndef SIMAN_KERNEL_COMMON_H_
#define SIMAN_KERNEL_COMMON_H_

#include <cstring>

#include "kernel.h"

namespace siman {
namespace {

inline float clamped(std::int32_t count, const Transform& transform) {
  std::int32_t doubled = 2 * count;
  doubled = doubled < transform.low ? transform.low : doubled;
  doubled = doubled > transform.high ? transform.high : doubled;
  return static_cast<float>(doubled);
}

// All lanes at once, in as many registers as that takes; a compiler left to find out by itself
// fears that the output, which may be the addend, is something else that is read here too.
using Floats = float __attribute__((vector_size(sizeof(float) * kLanes)));
using Ints = std::int32_t __attribute__((vector_size(sizeof(std::int32_t) * kLanes)));

template <class Vector, class Value>
inline void load(const Value* from, Vector& to) {
  std::memcpy(&to, from, sizeof(to));
}

template <class Vector, class Value>
inline void clamp(Vector& values, Value low, Value high) {
  const Vector least = low - Vector{}, most = high - Vector{};
  values = values < least ? least : values;
  values = values > most ? most : values;
}

void to_float(const std::int32_t* counts, int pixels, const Transform& transform,
              const Additions& additions, float* output, std::ptrdiff_t stride) {
  const std::int32_t low = transform.low, high = transform.high;
  const Additions extra = additions;
  const bool bounded = extra.bounds.low > Bounds{}.low || extra.bounds.high < Bounds{}.high;
  Floats multiplier, bias, added;
  load(transform.multiplier, multiplier);
  load(transform.bias, bias);
  for (int p = 0; p < pixels; ++p, counts += kLanes) {
    Ints doubled;
    load(counts, doubled);
    doubled += doubled;
    clamp(doubled, low, high);
    Floats values = __builtin_convertvector(doubled, Floats) * multiplier + bias;
    if (extra.zeros != nullptr && extra.zeros[p] != nullptr) {
      load(extra.zeros[p], added);
      values += added;
    }
    if (extra.addend != nullptr) {
      load(extra.addend + p * stride, added);
      values += added;
      if (bounded) clamp(values, extra.bounds.low, extra.bounds.high);
    }
    std::memcpy(output + p * stride, &values, sizeof(values));
  }
}

void to_int8(const std::int32_t* __restrict counts, int pixels, const Transform& transform,
             std::int8_t* __restrict output, std::ptrdiff_t stride) {
  const Transform t = transform;
  for (int p = 0; p < pixels; ++p, counts += kLanes, output += stride) {
    for (int lane = 0; lane < kLanes; ++lane) {
      float value = clamped(counts[lane], t) * t.multiplier[lane] + t.bias[lane];
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
