// AVX2: bits are counted by looking up each half byte; two registers hold a word of 16 output
// channels. Counts stay in bytes for as many words as a byte can take.
#if defined(__x86_64__)
#include <immintrin.h>

#include "kernel_common.h"

namespace siman {
namespace {

constexpr int kWordsPerByte = 31;  // 31 * 8 bits < 256

inline __m256i load(const void* from) {
  return _mm256_loadu_si256(static_cast<const __m256i*>(from));
}

inline __m256i bits_in_bytes(__m256i x) {
  const __m256i table = _mm256_setr_epi8(0, 1, 1, 2, 1, 2, 2, 3, 1, 2, 2, 3, 2, 3, 3, 4, 0, 1, 1,
                                         2, 1, 2, 2, 3, 1, 2, 2, 3, 2, 3, 3, 4);
  const __m256i low_half = _mm256_set1_epi8(0x0f);
  const __m256i low = _mm256_and_si256(x, low_half);
  const __m256i high = _mm256_and_si256(_mm256_srli_epi16(x, 4), low_half);
  return _mm256_add_epi8(_mm256_shuffle_epi8(table, low), _mm256_shuffle_epi8(table, high));
}

inline __m256i bytes_to_words(__m256i x) {
  const __m256i in_shorts = _mm256_maddubs_epi16(x, _mm256_set1_epi8(1));
  return _mm256_madd_epi16(in_shorts, _mm256_set1_epi16(1));
}

inline void add_to(std::int32_t* counts, __m256i in_bytes) {
  const __m256i sum = _mm256_add_epi32(load(counts), bytes_to_words(in_bytes));
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(counts), sum);
}

template <int kPixels>
void count(const Patch& patch, std::int32_t* counts) {
  for (int i = 0; i < kPixels * kLanes; ++i) counts[i] = 0;
  __m256i low[kPixels], high[kPixels];
  for (int p = 0; p < kPixels; ++p) low[p] = high[p] = _mm256_setzero_si256();
  const std::uint32_t* weights = patch.weights;
  const std::ptrdiff_t stride = patch.pixel_stride;
  int room = kWordsPerByte;
  for (int s = 0; s < patch.segments; ++s) {
    const std::uint32_t* x = patch.input + patch.offsets[s];
    for (int left = patch.words; left > 0;) {
      const int now = left < room ? left : room;
      for (int k = 0; k < now; ++k, ++x, weights += kLanes) {
        const __m256i first = load(weights), second = load(weights + 8);
#pragma GCC unroll 8
        for (int p = 0; p < kPixels; ++p) {
          const __m256i word = _mm256_set1_epi32(static_cast<int>(x[p * stride]));
          low[p] = _mm256_add_epi8(low[p], bits_in_bytes(_mm256_xor_si256(first, word)));
          high[p] = _mm256_add_epi8(high[p], bits_in_bytes(_mm256_xor_si256(second, word)));
        }
      }
      left -= now;
      room -= now;
      if (room == 0) {
        room = kWordsPerByte;
#pragma GCC unroll 8
        for (int p = 0; p < kPixels; ++p) {
          add_to(counts + p * kLanes, low[p]);
          add_to(counts + p * kLanes + 8, high[p]);
          low[p] = high[p] = _mm256_setzero_si256();
        }
      }
    }
  }
#pragma GCC unroll 8
  for (int p = 0; p < kPixels; ++p) {
    add_to(counts + p * kLanes, low[p]);
    add_to(counts + p * kLanes + 8, high[p]);
  }
}

inline std::uint32_t sign_bits(__m256i x) {
  return static_cast<std::uint32_t>(_mm256_movemask_ps(_mm256_castsi256_ps(x)));
}

void compare_bits(const std::int32_t* counts, int pixels, const Transform& transform,
                  std::uint32_t* output) {
  const auto threshold = load(transform.threshold);
  const auto threshold_high = load(transform.threshold + 8);
  for (int p = 0; p < pixels; ++p, counts += kLanes) {
    const __m256i low = _mm256_cmpgt_epi32(load(counts), threshold);
    const __m256i high = _mm256_cmpgt_epi32(load(counts + 8), threshold_high);
    output[p] = sign_bits(low) | sign_bits(high) << 8;
  }
}

void pack(const float* values, std::int64_t words, std::uint32_t* output) {
  const __m256 zero = _mm256_setzero_ps();
  for (std::int64_t w = 0; w < words; ++w, values += 32) {
    std::uint32_t word = 0;
#pragma GCC unroll 4
    for (int i = 0; i < 4; ++i) {
      const __m256 below = _mm256_cmp_ps(_mm256_loadu_ps(values + 8 * i), zero, _CMP_LT_OQ);
      word |= static_cast<std::uint32_t>(_mm256_movemask_ps(below)) << (8 * i);
    }
    output[w] = word;
  }
}

std::int64_t count_in_registers(std::int64_t rounds) {
  __m256i x[6];
  for (int i = 0; i < 6; ++i) x[i] = _mm256_set1_epi32(i);
  for (std::int64_t round = 0; round < rounds; ++round) {
#pragma GCC unroll 8
    for (int i = 0; i < 6; ++i) {
      x[i] = bits_in_bytes(x[i]);
      asm volatile("" : "+x"(x[i]));
    }
  }
  return rounds * 6 * 256;
}

}  // namespace

const Kernel kAvx2Kernel = {
    "avx2",  4,       {count<1>, count<2>, count<3>, count<4>},
    to_float, to_int8, compare_bits,
    pack,    count_in_registers,
};

}  // namespace siman
#endif  // __x86_64__
