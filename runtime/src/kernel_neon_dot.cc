// NEON with dot products (Raspberry Pi 5): by ones, which sum four bytes of counts into 32 bits.
#if defined(__aarch64__)
// First, as what follows is compiled for these processors only.
#include <cstring>
#include <utility>

#include "kernel.h"

// Zig's compiler and g++ have no option in common that would do the same.
#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("dotprod"))), apply_to = function)
#else
#pragma GCC target("arch=armv8.2-a+dotprod")
#endif
#include "kernel_neon.h"

namespace siman {
namespace {

struct NeonDot : Neon {
  static Ints add(Ints sum, Ints product) {
    return reinterpret_cast<Ints>(vdotq_u32(reinterpret_cast<uint32x4_t>(sum),
                                            bits_in_bytes(product), vdupq_n_u8(1)));
  }
  template <int kPixels>
  SIMAN_INLINED static void count(const Patch& patch, Counts<NeonDot, kPixels>& counts) {
    count_words<NeonDot, kPixels>(patch, counts);
  }
};

}  // namespace

constexpr Kernel kNeonDotKernel = kernel_of<NeonDot>("neondot", count_in_registers);

}  // namespace siman
#if defined(__clang__)
#pragma clang attribute pop
#endif
#endif  // __aarch64__
