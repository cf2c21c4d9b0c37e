// NEON of aarch64, with and without dot products: four registers hold a word of 16 output channels.
#ifndef SIMAN_KERNEL_NEON_H_
#define SIMAN_KERNEL_NEON_H_

#include <arm_neon.h>

#include "kernel_common.h"

namespace siman {
namespace {

struct Neon {
  static constexpr int kLanes = 16;
  static constexpr int kMostPixels = 4;

  static uint8x16_t bits_in_bytes(Ints product) {
    return vcntq_u8(reinterpret_cast<uint8x16_t>(product));
  }
  static std::uint32_t above(Ints counts, Ints thresholds) { return bits(counts > thresholds); }
  static std::uint32_t below(Floats values, Floats thresholds) { return bits(values < thresholds); }
  static std::uint32_t bits(Ints where) {
    const Ints places = {1, 2, 4, 8};
    return vaddvq_u32(reinterpret_cast<uint32x4_t>(where & places));
  }
};

[[maybe_unused]] std::int64_t count_in_registers(std::int64_t rounds) {
  uint8x16_t x[8];
  for (int i = 0; i < 8; ++i) x[i] = vdupq_n_u8(static_cast<std::uint8_t>(i));
  for (std::int64_t round = 0; round < rounds; ++round) {
#pragma GCC unroll 8
    for (int i = 0; i < 8; ++i) {
      x[i] = vcntq_u8(x[i]);
      asm volatile("" : "+w"(x[i]));
    }
  }
  return rounds * 8 * 128;
}

}  // namespace
}  // namespace siman

#endif  // SIMAN_KERNEL_NEON_H_
