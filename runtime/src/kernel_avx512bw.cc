// AVX-512BW without VPOPCNTDQ (Skylake-X, Cascade Lake): by tables.
#if defined(__x86_64__)
#include "kernel_avx512_masks.h"
#include "kernel_tables.h"

namespace siman {
namespace {

struct Avx512Bw : Avx512Masks {
  static constexpr int kLanes = 32;
  static constexpr int kMostPixels = 8;

  // Without a mask g++ 12 warns of its own header.
  static constexpr unsigned short kAll = 0xffff;

  static Bytes table(const std::uint8_t* from) {
    const __m256i both = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(from));
    return reinterpret_cast<Bytes>(_mm512_maskz_broadcast_i64x4(kAll & 0xff, both));
  }
  static Bytes look_up(Bytes table, Bytes weights) {
    return reinterpret_cast<Bytes>(_mm512_shuffle_epi8(reinterpret_cast<__m512i>(table),
                                                       reinterpret_cast<__m512i>(weights)));
  }
  template <int kHalf>
  static __m256i half(__m512i all) {
    return _mm512_maskz_extracti64x4_epi64(kAll & 0xff, all, kHalf);
  }
  // Two blocks of channels side by side, each with its lower halves first.
  static Shorts widened(Bytes bytes) {
    const auto all = reinterpret_cast<__m512i>(bytes);
    const __m512i first = _mm512_cvtepu8_epi16(half<0>(all));
    const __m512i second = _mm512_cvtepu8_epi16(half<1>(all));
    return reinterpret_cast<Shorts>(_mm512_maskz_shuffle_i64x2(kAll & 0xff, first, second, 0x44)) +
           reinterpret_cast<Shorts>(_mm512_maskz_shuffle_i64x2(kAll & 0xff, first, second, 0xee));
  }
  static void widest(Shorts shorts, Ints* to) {
    const auto all = reinterpret_cast<__m512i>(shorts);
    to[0] = reinterpret_cast<Ints>(_mm512_maskz_cvtepu16_epi32(kAll, half<0>(all)));
    to[1] = reinterpret_cast<Ints>(_mm512_maskz_cvtepu16_epi32(kAll, half<1>(all)));
  }
  template <int kPixels>
  SIMAN_INLINED static void count(const Patch& patch, Counts<Avx512Bw, kPixels>& counts) {
    count_by_tables<Avx512Bw, kPixels>(patch, counts);
  }
};

}  // namespace

constexpr Kernel kAvx512BwKernel =
    kernel_by_tables<Avx512Bw>("avx512bw", &kAvx2NarrowKernel, 0.58);

}  // namespace siman
#endif  // __x86_64__
