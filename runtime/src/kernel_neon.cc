// NEON of aarch64: four registers hold a word of 16 output channels. Counts stay in bytes for as
// many words as a byte can take.
#if defined(__aarch64__)
#include <arm_neon.h>

#include "kernel_common.h"

namespace siman {
namespace {

constexpr int kWordsPerByte = 31;  // 31 * 8 bits < 256
constexpr int kRegisters = kLanes / 4;

inline void add_to(std::int32_t* counts, uint8x16_t in_bytes) {
  const uint32x4_t sum = vpadalq_u16(vreinterpretq_u32_s32(vld1q_s32(counts)), vpaddlq_u8(in_bytes));
  vst1q_s32(counts, vreinterpretq_s32_u32(sum));
}

template <int kPixels>
void count(const Patch& patch, std::int32_t* counts) {
  for (int i = 0; i < kPixels * kLanes; ++i) counts[i] = 0;
  uint8x16_t sums[kPixels][kRegisters];
  for (int p = 0; p < kPixels; ++p) {
    for (int r = 0; r < kRegisters; ++r) sums[p][r] = vdupq_n_u8(0);
  }
  const std::uint32_t* weights = patch.weights;
  int room = kWordsPerByte;
  for (int s = 0; s < patch.segments; ++s) {
    const std::uint32_t* x[kPixels];
    for (int p = 0; p < kPixels; ++p) x[p] = patch.input + patch.offsets[s] + p * patch.pixel_stride;
    for (int left = patch.words; left > 0;) {
      const int now = left < room ? left : room;
      for (int k = 0; k < now; ++k, weights += kLanes) {
        uint32x4_t w[kRegisters];
#pragma GCC unroll 4
        for (int r = 0; r < kRegisters; ++r) w[r] = vld1q_u32(weights + 4 * r);
#pragma GCC unroll 8
        for (int p = 0; p < kPixels; ++p) {
          const uint32x4_t word = vld1q_dup_u32(x[p]++);
#pragma GCC unroll 4
          for (int r = 0; r < kRegisters; ++r) {
            const uint8x16_t product = vreinterpretq_u8_u32(veorq_u32(w[r], word));
            sums[p][r] = vaddq_u8(sums[p][r], vcntq_u8(product));
          }
        }
      }
      left -= now;
      room -= now;
      if (room == 0) {
        room = kWordsPerByte;
#pragma GCC unroll 8
        for (int p = 0; p < kPixels; ++p) {
#pragma GCC unroll 4
          for (int r = 0; r < kRegisters; ++r) {
            add_to(counts + p * kLanes + 4 * r, sums[p][r]);
            sums[p][r] = vdupq_n_u8(0);
          }
        }
      }
    }
  }
#pragma GCC unroll 8
  for (int p = 0; p < kPixels; ++p) {
#pragma GCC unroll 4
    for (int r = 0; r < kRegisters; ++r) add_to(counts + p * kLanes + 4 * r, sums[p][r]);
  }
}

void pack(const float* values, std::int64_t words, std::uint32_t* output) {
  const std::uint32_t places[4] = {1, 2, 4, 8};
  const uint32x4_t place = vld1q_u32(places);
  for (std::int64_t w = 0; w < words; ++w, values += 32) {
    uint32x4_t word = vdupq_n_u32(0);
#pragma GCC unroll 8
    for (int i = 0; i < 8; ++i) {
      const uint32x4_t below = vandq_u32(vcltzq_f32(vld1q_f32(values + 4 * i)), place);
      word = vorrq_u32(word, vshlq_u32(below, vdupq_n_s32(4 * i)));
    }
    output[w] = vaddvq_u32(word);
  }
}

std::int64_t count_in_registers(std::int64_t rounds) {
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

const Kernel kNeonKernel = {
    "neon",  4,       {count<1>, count<2>, count<3>, count<4>},
    to_float, to_int8, to_bits,
    pack,    count_in_registers,
};

}  // namespace siman
#endif  // __aarch64__
