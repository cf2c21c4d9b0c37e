// AVX-512 with VPOPCNTDQ: one register holds a word of 16 output channels.
//
// Three vector instructions (xor, popcount, add) take in 512 bits; a processor that starts two in a
// cycle is bound to 2/3 of what its popcount unit could do. Carry-save adders of ternary operations,
// which halve the popcounts, were slower on AMD's Zen 4.
#if defined(__x86_64__)
#include <immintrin.h>

#include "kernel_common.h"

namespace siman {
namespace {

inline __m512i load(const void* from) { return _mm512_loadu_si512(from); }

inline __m512i broadcast(const std::uint32_t* word) {
  return _mm512_set1_epi32(static_cast<int>(*word));
}

template <int kPixels>
void count(const Patch& patch, std::int32_t* counts) {
  __m512i sums[kPixels];
  for (int p = 0; p < kPixels; ++p) sums[p] = _mm512_setzero_si512();
  const std::uint32_t* weights = patch.weights;
  const std::ptrdiff_t stride = patch.pixel_stride;
  for (int s = 0; s < patch.segments; ++s) {
    const std::uint32_t* x = patch.input + patch.offsets[s];
    for (int k = 0; k < patch.words; ++k, ++x, weights += kLanes) {
      const __m512i w = load(weights);
#pragma GCC unroll 8
      for (int p = 0; p < kPixels; ++p) {
        const __m512i product = _mm512_xor_si512(w, broadcast(x + p * stride));
        sums[p] = _mm512_add_epi32(sums[p], _mm512_popcnt_epi32(product));
      }
    }
  }
#pragma GCC unroll 8
  for (int p = 0; p < kPixels; ++p) _mm512_storeu_si512(counts + p * kLanes, sums[p]);
}

void compare_bits(const std::int32_t* counts, int pixels, const Transform& transform,
                  std::uint32_t* output) {
  const auto threshold = load(transform.threshold);
  for (int p = 0; p < pixels; ++p, counts += kLanes) {
    output[p] = _mm512_cmpgt_epi32_mask(load(counts), threshold);
  }
}

void pack(const float* values, std::int64_t words, std::uint32_t* output) {
  const __m512 zero = _mm512_setzero_ps();
  for (std::int64_t w = 0; w < words; ++w, values += 32) {
    const std::uint32_t low = _mm512_cmp_ps_mask(_mm512_loadu_ps(values), zero, _CMP_LT_OQ);
    const std::uint32_t high = _mm512_cmp_ps_mask(_mm512_loadu_ps(values + 16), zero, _CMP_LT_OQ);
    output[w] = low | high << 16;
  }
}

#define SIMAN_COUNT(r) "vpopcntd %%zmm" #r ", %%zmm" #r "\n\t"

std::int64_t count_in_registers(std::int64_t rounds) {
  for (std::int64_t round = 0; round < rounds; ++round) {
    asm volatile(SIMAN_COUNT(0) SIMAN_COUNT(1) SIMAN_COUNT(2) SIMAN_COUNT(3) SIMAN_COUNT(4)
                 SIMAN_COUNT(5) SIMAN_COUNT(6) SIMAN_COUNT(7) SIMAN_COUNT(8) SIMAN_COUNT(9)
                 SIMAN_COUNT(10) SIMAN_COUNT(11)
                 : : : "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "xmm8",
                       "xmm9", "xmm10", "xmm11");
  }
  return rounds * 12 * 512;
}

}  // namespace

const Kernel kAvx512Kernel = {
    "avx512",
    8,
    {count<1>, count<2>, count<3>, count<4>, count<5>, count<6>, count<7>, count<8>},
    to_float,
    to_int8,
    compare_bits,
    pack,
    count_in_registers,
};

}  // namespace siman
#endif  // __x86_64__
