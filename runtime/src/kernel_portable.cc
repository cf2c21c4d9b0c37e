// Plain C++: what the compiler makes of it. Bits are counted by adding neighbours, for two words at
// once: with a running parity o, two products p and q add bits(o ^ p ^ q) - bits(o) + 2 * bits(majority).
#include "kernel_common.h"

namespace siman {
namespace {

inline std::uint32_t bits(std::uint32_t x) {
  x -= (x >> 1) & 0x55555555u;
  x = (x & 0x33333333u) + ((x >> 2) & 0x33333333u);
  x = (x + (x >> 4)) & 0x0f0f0f0fu;
  return (x * 0x01010101u) >> 24;
}

struct Portable {
  static constexpr int kLanes = 16;
  static constexpr int kMostPixels = 2;

  template <int kPixels>
  static void count(const Patch& patch, Counts<Portable, kPixels>& counts);

  static std::uint32_t above(Ints counts, Ints thresholds) {
    std::uint32_t found = 0;
    for (int i = 0; i < kStep; ++i) {
      found |= static_cast<std::uint32_t>(counts[i] > thresholds[i]) << i;
    }
    return found;
  }
  static std::uint32_t below(Floats values, Floats thresholds) {
    std::uint32_t found = 0;
    for (int i = 0; i < kStep; ++i) {
      found |= static_cast<std::uint32_t>(values[i] < thresholds[i]) << i;
    }
    return found;
  }
};

template <int kPixels>
void Portable::count(const Patch& patch, Counts<Portable, kPixels>& counts) {
  std::uint32_t parity[kPixels][kLanes] = {};
  std::uint32_t pairs[kPixels][kLanes] = {};
  const std::uint32_t* weights = patch.weights;
  for (int s = 0; s < patch.segments; ++s) {
    const std::uint32_t* input = patch.input + patch.offsets[s];
    for (int k = 0; k < patch.words; k += 2) {
      const bool second = k + 1 < patch.words;
      for (int p = 0; p < kPixels; ++p) {
        const std::uint32_t* x = input + p * patch.pixel_stride + k;
        // Where the second is missing, its product must be 0: weights against themselves.
        for (int l = 0; l < kLanes; ++l) {
          const std::uint32_t a = weights[l] ^ x[0];
          const std::uint32_t b = second ? weights[kLanes + l] ^ x[1] : 0;
          const std::uint32_t half = parity[p][l] ^ a;
          pairs[p][l] += bits((parity[p][l] & a) | (half & b));
          parity[p][l] = half ^ b;
        }
      }
      weights += second ? 2 * kLanes : kLanes;
    }
  }
  for (int p = 0; p < kPixels; ++p) {
    for (int l = 0; l < kLanes; ++l) pairs[p][l] = 2 * pairs[p][l] + bits(parity[p][l]);
  }
  std::memcpy(counts, pairs, sizeof(counts));
}

std::int64_t count_in_registers(std::int64_t rounds) {
  std::uint32_t x[Portable::kLanes] = {};
  for (std::int64_t i = 0; i < rounds; ++i) {
    for (std::uint32_t& word : x) word = bits(word + 1);
    asm volatile("" : : "r"(x) : "memory");
  }
  return rounds * Portable::kLanes * 32;
}

}  // namespace

constexpr Kernel kPortableKernel = kernel_of<Portable>("portable", count_in_registers);

}  // namespace siman
