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
  static void add_shorts(__m128i first, __m128i second, Ints* counts) {
    const __m256i both = _mm256_set_m128i(second, first);
    *counts += reinterpret_cast<Ints>(_mm512_maskz_cvtepu16_epi32(kAll, both));
  }
  template <int kPixels>
  static void count(const Patch& patch, Counts<Avx512Bw, kPixels>& counts) {
    count_by_tables<Avx512Bw, kPixels>(patch, counts);
  }
};

}  // namespace

constexpr Kernel kAvx512BwKernel = kernel_by_tables<Avx512Bw>("avx512bw", &kAvx2NarrowKernel);

}  // namespace siman
#endif  // __x86_64__
