// How both kernels of AVX-512 compare: into masks.
#ifndef SIMAN_KERNEL_AVX512_MASKS_H_
#define SIMAN_KERNEL_AVX512_MASKS_H_

#include <immintrin.h>

#include "kernel_common.h"

namespace siman {
namespace {

struct Avx512Masks {
  static std::uint32_t above(Ints counts, Ints thresholds) {
    return _mm512_cmpgt_epi32_mask(reinterpret_cast<__m512i>(counts),
                                   reinterpret_cast<__m512i>(thresholds));
  }
  static std::uint32_t below(Floats values, Floats thresholds) {
    return _mm512_cmp_ps_mask(values, thresholds, _CMP_LT_OQ);
  }
};

}  // namespace
}  // namespace siman

#endif  // SIMAN_KERNEL_AVX512_MASKS_H_
