// AVX-512 with VPOPCNTDQ: a register holds a word of 16 output channels.
//
// Three vector instructions (xor, popcount, add) take in 512 bits; a processor that starts two in a
// cycle is bound to 2/3 of what its popcount unit could do. Carry-save adders of ternary operations,
// which halve the popcounts, were slower on AMD's Zen 4.
#if defined(__x86_64__)
#include <immintrin.h>

#include "kernel_avx512_masks.h"
#include "kernel_common.h"

namespace siman {
namespace {

template <int kChannels>
struct Avx512 : Avx512Masks {
  static constexpr int kLanes = kChannels;
  static constexpr int kMostPixels = 8;

  static Ints add(Ints sum, Ints product) {
    return sum + reinterpret_cast<Ints>(_mm512_popcnt_epi32(reinterpret_cast<__m512i>(product)));
  }
  template <int kPixels>
  SIMAN_INLINED static void count(const Patch& patch, Counts<Avx512, kPixels>& counts) {
    count_words<Avx512, kPixels>(patch, counts);
  }
};

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

constexpr Kernel kAvx512NarrowKernel = kernel_of<Avx512<16>>("avx512", count_in_registers);
constexpr Kernel kAvx512Kernel =
    kernel_of<Avx512<32>>("avx512", count_in_registers, &kAvx512NarrowKernel, 0.51);

}  // namespace siman
#endif  // __x86_64__
