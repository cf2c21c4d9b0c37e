// AVX2: by tables.
#if defined(__x86_64__)
#include "kernel_tables.h"

namespace siman {
namespace {

template <int kChannels>
struct Avx2 {
  static constexpr int kLanes = kChannels;
  static constexpr int kMostPixels = 5;

  static Bytes table(const std::uint8_t* from) { return load<Bytes>(from); }
  static Bytes look_up(Bytes table, Bytes weights) {
    return reinterpret_cast<Bytes>(_mm256_shuffle_epi8(reinterpret_cast<__m256i>(table),
                                                       reinterpret_cast<__m256i>(weights)));
  }
  static Shorts widened(Bytes bytes) {
    const auto both = reinterpret_cast<__m256i>(bytes);
    return reinterpret_cast<Shorts>(_mm256_cvtepu8_epi16(_mm256_castsi256_si128(both))) +
           reinterpret_cast<Shorts>(_mm256_cvtepu8_epi16(_mm256_extracti128_si256(both, 1)));
  }
  static void widest(Shorts shorts, Ints* to) {
    const auto all = reinterpret_cast<__m256i>(shorts);
    to[0] = reinterpret_cast<Ints>(_mm256_cvtepu16_epi32(_mm256_castsi256_si128(all)));
    to[1] = reinterpret_cast<Ints>(_mm256_cvtepu16_epi32(_mm256_extracti128_si256(all, 1)));
  }
  template <int kPixels>
  SIMAN_INLINED static void count(const Patch& patch, Counts<Avx2, kPixels>& counts) {
    count_by_tables<Avx2, kPixels>(patch, counts);
  }
  static std::uint32_t above(Ints counts, Ints thresholds) {
    return signs(reinterpret_cast<Floats>(counts > thresholds));
  }
  static std::uint32_t below(Floats values, Floats thresholds) {
    return signs(_mm256_cmp_ps(values, thresholds, _CMP_LT_OQ));
  }
  static std::uint32_t signs(Floats values) {
    return static_cast<std::uint32_t>(_mm256_movemask_ps(values));
  }
};

}  // namespace

constexpr Kernel kAvx2NarrowKernel = kernel_by_tables<Avx2<16>>("avx2");
constexpr Kernel kAvx2Kernel = kernel_by_tables<Avx2<32>>("avx2", &kAvx2NarrowKernel, 0.71);

}  // namespace siman
#endif  // __x86_64__
