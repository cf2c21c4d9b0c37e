// Vectors of floats, the same for all instruction sets, and what is done with them apart from bits;
// compiled, as kernel_common.h, for each set by itself.
#ifndef SIMAN_KERNEL_FLOATS_H_
#define SIMAN_KERNEL_FLOATS_H_

#include <cstring>

#include "kernel.h"

namespace siman {
namespace {

// Vectors of just the registers' width: wider ones g++ takes apart, through memory; and a compiler
// left to find vectors by itself fears that the output, which may be the addend, is something else
// that is read here too.
#if defined(__AVX512F__)
constexpr int kNativeBytes = 64;
#elif defined(__AVX2__)
constexpr int kNativeBytes = 32;
#else
constexpr int kNativeBytes = 16;
#endif
constexpr int kStep = kNativeBytes / 4;
using Floats = float __attribute__((vector_size(kNativeBytes)));
using Ints = std::int32_t __attribute__((vector_size(kNativeBytes)));

template <class Vector, class Value>
inline Vector load(const Value* from) {
  Vector to;
  std::memcpy(&to, from, sizeof(to));
  return to;
}

template <class Vector, class Value>
inline Vector clamp(Vector values, Value low, Value high) {
  const Vector least = low - Vector{}, most = high - Vector{};
  values = values < least ? least : values;
  return values > most ? most : values;
}

template <Stage::Kind kKind, class Value>
inline Value applied(Value value, Value other) {
  if constexpr (kKind == Stage::Kind::kAdd) return value + other;
  if constexpr (kKind == Stage::Kind::kSubtract) return value - other;
  if constexpr (kKind == Stage::Kind::kSubtractFrom) return other - value;
  if constexpr (kKind == Stage::Kind::kMultiply) return value * other;
  if constexpr (kKind == Stage::Kind::kPrelu) return value < 0.0f ? value * other : value;
  return value;
}

template <Stage::Kind kKind, bool kHasOneOther>
void apply_to(const Bounds& bounds, const float* values, const float* others, std::int64_t count,
              float* output) {
  const float one = kHasOneOther && others != nullptr ? *others : 0.0f;
  const Floats ones = one - Floats{};
  std::int64_t i = 0;
  for (; i + kStep <= count; i += kStep) {
    const Floats other = kHasOneOther ? ones : load<Floats>(others + i);
    const Floats found = clamp(applied<kKind>(load<Floats>(values + i), other), bounds.low, bounds.high);
    std::memcpy(output + i, &found, sizeof(found));
  }
  for (; i < count; ++i) {
    output[i] = bounds.clamp(applied<kKind>(values[i], kHasOneOther ? one : others[i]));
  }
}

template <Stage::Kind kKind>
void apply_to(const Stage& stage, const float* values, const float* others, std::int64_t count,
              float* output) {
  if (stage.has_one_other()) {
    apply_to<kKind, true>(stage.bounds, values, others, count, output);
  } else {
    apply_to<kKind, false>(stage.bounds, values, others, count, output);
  }
}

inline void apply(const Stage& stage, const float* values, const float* others, std::int64_t count,
                  float* output) {
  using Kind = Stage::Kind;
  switch (stage.kind) {
    case Kind::kKeep: return apply_to<Kind::kKeep>(stage, values, others, count, output);
    case Kind::kAdd: return apply_to<Kind::kAdd>(stage, values, others, count, output);
    case Kind::kSubtract: return apply_to<Kind::kSubtract>(stage, values, others, count, output);
    case Kind::kSubtractFrom:
      return apply_to<Kind::kSubtractFrom>(stage, values, others, count, output);
    case Kind::kMultiply: return apply_to<Kind::kMultiply>(stage, values, others, count, output);
    case Kind::kPrelu: return apply_to<Kind::kPrelu>(stage, values, others, count, output);
  }
}

// The later of two that are equal, or no numbers, does not take the first one's place.
template <class Value>
inline Value largest_of(const float* values, int rows, int columns, std::int64_t stride,
                        int channels) {
  Value found = load<Value>(values);
  for (int row = 0; row < rows; ++row, values += stride) {
    for (int column = 0; column < columns; ++column) {
      const Value other = load<Value>(values + std::int64_t{column} * channels);
      found = found < other ? other : found;
    }
  }
  return found;
}

inline void largest(const float* values, int rows, int columns, std::int64_t stride, int channels,
                    float* output) {
  int c = 0;
  for (; c + kStep <= channels; c += kStep) {
    const Floats found = largest_of<Floats>(values + c, rows, columns, stride, channels);
    std::memcpy(output + c, &found, sizeof(found));
  }
  for (; c < channels; ++c) {
    output[c] = largest_of<float>(values + c, rows, columns, stride, channels);
  }
}

// Of kVectors vectors of columns.
template <int kVectors>
inline void add_rows_of(const float* values, std::int64_t rows, std::int64_t stride, float* sums) {
  Floats found[kVectors] = {};
  for (std::int64_t row = 0; row < rows; ++row, values += stride) {
#pragma GCC unroll 4
    for (int v = 0; v < kVectors; ++v) found[v] += load<Floats>(values + v * kStep);
  }
  std::memcpy(sums, found, sizeof(found));
}

// The same on all machines: each column has a sum of its own.
inline void add_rows(const float* values, std::int64_t rows, std::int64_t stride,
                     std::int64_t count, float* sums) {
  std::int64_t c = 0;
  for (; c + 4 * kStep <= count; c += 4 * kStep) add_rows_of<4>(values + c, rows, stride, sums + c);
  for (; c + kStep <= count; c += kStep) add_rows_of<1>(values + c, rows, stride, sums + c);
  for (; c < count; ++c) {
    float sum = 0;
    for (std::int64_t row = 0; row < rows; ++row) sum += values[row * stride + c];
    sums[c] = sum;
  }
}

}  // namespace
}  // namespace siman

#endif  // SIMAN_KERNEL_FLOATS_H_
