// AVX-512 with VPOPCNTDQ: one register holds a word of 16 output channels.
//
// Words are taken in pairs. With a running parity o and products p = w1 ^ x1, q = w2 ^ x2:
//   half = o ^ p, o' = half ^ q, carry = majority(o, p, q) = half ? ~o' : o,
// and bits(p) + bits(q) = bits(o') - bits(o) + 2 * bits(carry). Three ternary operations take in
// both products and leave one popcount for two words: 5 vector instructions in place of 6.
#if defined(__x86_64__)
#include <immintrin.h>

#include "kernel_common.h"

namespace siman {
namespace {

constexpr int kXor3 = 0x96;
constexpr int kCarry = 0x74;  // of (o, half, o'): half ? ~o' : o

inline __m512i load(const void* from) { return _mm512_loadu_si512(from); }

inline __m512i broadcast(const std::uint32_t* word) {
  return _mm512_set1_epi32(static_cast<int>(*word));
}

template <int kPixels>
void count(const Patch& patch, std::int32_t* counts) {
  __m512i parity[kPixels], pairs[kPixels];
  for (int p = 0; p < kPixels; ++p) parity[p] = pairs[p] = _mm512_setzero_si512();
  const std::uint32_t* weights = patch.weights;
  const std::ptrdiff_t stride = patch.pixel_stride;
  for (int s = 0; s < patch.segments; ++s) {
    const std::uint32_t* x = patch.input + patch.offsets[s];
    int left = patch.words;
    for (; left >= 2; left -= 2, x += 2, weights += 2 * kLanes) {
      const __m512i first = load(weights), second = load(weights + kLanes);
#pragma GCC unroll 8
      for (int p = 0; p < kPixels; ++p) {
        const std::uint32_t* at = x + p * stride;
        const __m512i half =
            _mm512_ternarylogic_epi32(parity[p], first, broadcast(at), kXor3);
        const __m512i next = _mm512_ternarylogic_epi32(half, second, broadcast(at + 1), kXor3);
        const __m512i carry = _mm512_ternarylogic_epi32(parity[p], half, next, kCarry);
        pairs[p] = _mm512_add_epi32(pairs[p], _mm512_popcnt_epi32(carry));
        parity[p] = next;
      }
    }
    if (left != 0) {
      const __m512i only = load(weights);
      weights += kLanes;
#pragma GCC unroll 8
      for (int p = 0; p < kPixels; ++p) {
        const __m512i product = _mm512_xor_si512(only, broadcast(x + p * stride));
        const __m512i carry = _mm512_and_si512(parity[p], product);
        pairs[p] = _mm512_add_epi32(pairs[p], _mm512_popcnt_epi32(carry));
        parity[p] = _mm512_xor_si512(parity[p], product);
      }
    }
  }
#pragma GCC unroll 8
  for (int p = 0; p < kPixels; ++p) {
    const __m512i total =
        _mm512_add_epi32(_mm512_add_epi32(pairs[p], pairs[p]), _mm512_popcnt_epi32(parity[p]));
    _mm512_storeu_si512(counts + p * kLanes, total);
  }
}

std::uint32_t compare_bits(const std::int32_t* counts, const Transform& transform) {
  return _mm512_cmpgt_epi32_mask(load(counts), load(transform.threshold));
}

void pack(const float* values, std::int64_t words, std::uint32_t* output) {
  const __m512 zero = _mm512_setzero_ps();
  for (std::int64_t w = 0; w < words; ++w, values += 32) {
    const std::uint32_t low = _mm512_cmp_ps_mask(_mm512_loadu_ps(values), zero, _CMP_LT_OQ);
    const std::uint32_t high = _mm512_cmp_ps_mask(_mm512_loadu_ps(values + 16), zero, _CMP_LT_OQ);
    output[w] = low | high << 16;
  }
}

std::int64_t count_in_registers(std::int64_t rounds) {
  __m512i x[8];
  for (int i = 0; i < 8; ++i) x[i] = _mm512_set1_epi32(i);
  for (std::int64_t round = 0; round < rounds; ++round) {
#pragma GCC unroll 8
    for (int i = 0; i < 8; ++i) {
      x[i] = _mm512_popcnt_epi32(x[i]);
      asm volatile("" : "+v"(x[i]));
    }
  }
  return rounds * 8 * 512;
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
