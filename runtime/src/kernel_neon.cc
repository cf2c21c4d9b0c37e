// NEON of aarch64 without dot products: counts stay in bytes for as many words as a byte can take.
#if defined(__aarch64__)
#include "kernel_neon.h"

namespace siman {
namespace {

constexpr int kWordsPerByte = 31;  // 31 * 8 bits < 256
constexpr int kRegisters = 4;

struct NeonBytes : Neon {
  template <int kPixels>
  static void count(const Patch& patch, Counts<NeonBytes, kPixels>& counts);
};

template <int kPixels>
inline void flush(uint8x16_t (&sums)[kPixels][kRegisters], Ints (&counts)[kPixels][kRegisters]) {
#pragma GCC unroll 8
  for (int p = 0; p < kPixels; ++p) {
#pragma GCC unroll 4
    for (int r = 0; r < kRegisters; ++r) {
      const auto count = reinterpret_cast<uint32x4_t>(counts[p][r]);
      counts[p][r] = reinterpret_cast<Ints>(vpadalq_u16(count, vpaddlq_u8(sums[p][r])));
    }
  }
  keep_in_memory(counts);
  clear(sums);
}

template <int kPixels>
inline void NeonBytes::count(const Patch& patch, Counts<NeonBytes, kPixels>& counts) {
  uint8x16_t sums[kPixels][kRegisters];
  clear(sums);
  clear(counts);
  const std::uint32_t* weights = patch.weights;
  int room = kWordsPerByte;
  for (int s = 0; s < patch.segments; ++s) {
    const std::uint32_t* x[kPixels];
    for (int p = 0; p < kPixels; ++p) x[p] = patch.input + patch.offsets[s] + p * patch.pixel_stride;
    for (int left = patch.words; left > 0;) {
      const int now = left < room ? left : room;
      for (int k = 0; k < now; ++k, weights += kLanes) {
        Ints w[kRegisters];
#pragma GCC unroll 4
        for (int r = 0; r < kRegisters; ++r) w[r] = load<Ints>(weights + 4 * r);
#pragma GCC unroll 8
        for (int p = 0; p < kPixels; ++p) {
          const Ints word = reinterpret_cast<Ints>(vld1q_dup_u32(x[p]++));
#pragma GCC unroll 4
          for (int r = 0; r < kRegisters; ++r) {
            sums[p][r] = vaddq_u8(sums[p][r], bits_in_bytes(w[r] ^ word));
          }
        }
      }
      left -= now;
      room -= now;
      if (room == 0) {
        room = kWordsPerByte;
        flush(sums, counts);
      }
    }
  }
  flush(sums, counts);
}

}  // namespace

constexpr Kernel kNeonKernel = kernel_of<NeonBytes>("neon", count_in_registers);

}  // namespace siman
#endif  // __aarch64__
