// Outputs from counts, the same for all instruction sets; every file that includes this compiles
// it for its own. Anonymous, so that no linker puts one set's code in place of another's.
//
// `Set` is what a file knows of its instruction set: kLanes, kMostPixels, `count`, and comparisons
// that give a bit for each value.
#ifndef SIMAN_KERNEL_COMMON_H_
#define SIMAN_KERNEL_COMMON_H_

#include <cstring>
#include <utility>

#include "kernel_floats.h"

namespace siman {
namespace {

// Arrays of registers that a function is given by reference are memory unless it is inlined.
#define SIMAN_INLINED __attribute__((always_inline))

template <class Set>
constexpr int kParts = Set::kLanes / kStep;

// Of kPixels positions, for all lanes.
template <class Set, int kPixels>
using Counts = Ints[kPixels][kParts<Set>];

// Keeps what lies there out of registers, which an inner loop needs for other things.
inline void keep_in_memory(const void* from) { asm volatile("" : : "r"(from) : "memory"); }

// float(clamp(2 * count)) or float(count), multiplied and added to.
template <class Set>
struct Lanes {
  explicit Lanes(const Transform& transform) {
#pragma GCC unroll 4
    for (int part = 0; part < kParts<Set>; ++part) {
      multiplier[part] = load<Floats>(transform.multiplier + part * kStep);
      bias[part] = load<Floats>(transform.bias + part * kStep);
    }
  }
  Floats of(Ints counts, int part) const {
    return __builtin_convertvector(counts, Floats) * multiplier[part] + bias[part];
  }

  Floats multiplier[kParts<Set>];
  Floats bias[kParts<Set>];
};

template <class Set, int kPixels>
inline void keep_within(const Transform& transform, Counts<Set, kPixels>& counts) {
  if (!transform.is_bounded) return;
#pragma GCC unroll 8
  for (int p = 0; p < kPixels; ++p) {
#pragma GCC unroll 4
    for (Ints& count : counts[p]) count = clamp(count + count, transform.low, transform.high);
  }
}

template <class Set, int kPixels>
SIMAN_INLINED inline void write_floats(Counts<Set, kPixels>& counts, const Transform& transform,
                                       const Additions& additions, float* output,
                                       std::ptrdiff_t stride) {
  keep_within<Set, kPixels>(transform, counts);
  const Lanes<Set> lanes(transform);
  const auto write = [&](const auto& finished) SIMAN_INLINED {
    float* to = output;
    asm("" : "+r"(to));  // or g++ works out the addresses of all three ways before it takes one
#pragma GCC unroll 8
    for (int p = 0; p < kPixels; ++p) {
#pragma GCC unroll 4
      for (int part = 0; part < kParts<Set>; ++part) {
        const Floats values = finished(lanes.of(counts[p][part], part), p, part);
        std::memcpy(to + p * stride + part * kStep, &values, sizeof(values));
      }
    }
  };
  const Additions extra = additions;
  const auto with_addend = [&](Floats values, int p, int part) {
    return values + load<Floats>(extra.addend + p * stride + part * kStep);
  };
  if (extra.zeros != nullptr || extra.bounds.low > Bounds{}.low || extra.bounds.high < Bounds{}.high) {
    write([&](Floats values, int p, int part) {
      if (extra.zeros != nullptr && extra.zeros[p] != nullptr) {
        values += load<Floats>(extra.zeros[p] + part * kStep);
      }
      if (extra.addend != nullptr) values = with_addend(values, p, part);
      return clamp(values, extra.bounds.low, extra.bounds.high);
    });
  } else if (extra.addend != nullptr) {
    write(with_addend);
  } else {
    write([](Floats values, int, int) { return values; });
  }
}

// What waits in memory while a pass counts: g++ would put it into vector registers, out of which it
// comes after all that was to be counted before.
struct Later {
  const Transform* transform;
  const Additions* additions;
  float* output;
  std::ptrdiff_t stride;
};

template <class Set, int kPixels>
void to_float(const Patch& patch, const Transform& transform, const Additions& additions,
              float* output, std::ptrdiff_t stride) {
  Later later = {&transform, &additions, output, stride};
  keep_in_memory(&later);
  Counts<Set, kPixels> counts;
  Set::template count<kPixels>(patch, counts);
  keep_in_memory(&later);
  write_floats<Set, kPixels>(counts, *later.transform, *later.additions, later.output, later.stride);
}

template <class Set, int kPixels>
void to_int8(const Patch& patch, const Transform& transform, std::int8_t* output,
             std::ptrdiff_t stride) {
  Counts<Set, kPixels> counts;
  Set::template count<kPixels>(patch, counts);
  keep_within<Set, kPixels>(transform, counts);
  const Lanes<Set> lanes(transform);
  const Floats least = -200.0f - Floats{}, most = 200.0f - Floats{};
#pragma GCC unroll 8
  for (int p = 0; p < kPixels; ++p) {
#pragma GCC unroll 4
    for (int part = 0; part < kParts<Set>; ++part) {
      Floats values = lanes.of(counts[p][part], part);
      values = values > least ? values : least;  // beyond both ends, and no number either
      values = values < most ? values : most;
      const Ints whole = __builtin_convertvector(values, Ints);
      const Floats rest = values - __builtin_convertvector(whole, Floats);
      // Comparisons give -1 where they hold.
      const Ints rounded = clamp(whole - (rest >= 0.5f) + (rest <= -0.5f), -128, 127);
      std::int8_t* to = output + p * stride + part * kStep;
      for (int lane = 0; lane < kStep; ++lane) to[lane] = static_cast<std::int8_t>(rounded[lane]);
    }
  }
}

template <class Set, int kPixels>
void to_bits(const Patch& patch, const Transform& transform, std::uint32_t* output) {
  Counts<Set, kPixels> counts;
  Set::template count<kPixels>(patch, counts);
#pragma GCC unroll 8
  for (int p = 0; p < kPixels; ++p) {
    std::uint32_t bits = 0;
#pragma GCC unroll 8
    for (int part = 0; part < kParts<Set>; ++part) {
      const auto threshold = load<Ints>(transform.threshold + part * kStep);
      bits |= Set::above(counts[p][part], threshold) << part * kStep;
    }
    output[p] = bits;
  }
}

template <class Set>
inline std::uint32_t packed(const float* values, Floats thresholds) {
  std::uint32_t word = 0;
#pragma GCC unroll 8
  for (int from = 0; from < 32; from += kStep) {
    word |= Set::below(load<Floats>(values + from), thresholds) << from;
  }
  return word;
}

template <class Set>
void pack(const float* values, std::int64_t rows, int channels, float threshold,
          std::uint32_t* output) {
  const Floats thresholds = threshold - Floats{};
  const int rest = channels % 32;
  const std::int64_t whole = rest == 0 ? rows * (channels / 32) : channels / 32;
  for (std::int64_t row = 0; row < (rest == 0 ? 1 : rows); ++row) {
    for (std::int64_t w = 0; w < whole; ++w, values += 32) {
      *output++ = packed<Set>(values, thresholds);
    }
    if (rest == 0) continue;
    std::uint32_t word = 0;
    int c = 0;
    for (; c + kStep <= rest; c += kStep) {
      word |= Set::below(load<Floats>(values + c), thresholds) << c;
    }
    for (; c < rest; ++c) word |= static_cast<std::uint32_t>(values[c] < threshold) << c;
    values += rest;
    *output++ = word;
  }
}

// One by one: g++ makes a call of a loop, which costs more than the rest of a pass.
template <class Vector, int kRows, int kColumns>
inline void clear(Vector (&vectors)[kRows][kColumns]) {
#pragma GCC unroll 8
  for (int row = 0; row < kRows; ++row) {
#pragma GCC unroll 4
    for (int column = 0; column < kColumns; ++column) vectors[row][column] = Vector{};
  }
}

// One word of kPixels positions, of the fifth and later ones by a pointer of their own: more strides
// than three times are registers that g++ does not have. Nothing was counted before the first word.
// `Set::add` adds the bits that differ.
template <bool kIsFirst, class Set, int kPixels>
SIMAN_INLINED inline void count_word(const std::uint32_t* x, const std::uint32_t* fifth,
                                     std::ptrdiff_t stride, const std::uint32_t* weights,
                                     Counts<Set, kPixels>& counts) {
  Ints w[kParts<Set>];
#pragma GCC unroll 4
  for (int part = 0; part < kParts<Set>; ++part) w[part] = load<Ints>(weights + part * kStep);
#pragma GCC unroll 8
  for (int p = 0; p < kPixels; ++p) {
    const std::uint32_t* from = p < 4 ? x : fifth;
    const Ints word = static_cast<std::int32_t>(from[p % 4 * stride]) - Ints{};
#pragma GCC unroll 4
    for (int part = 0; part < kParts<Set>; ++part) {
      counts[p][part] = Set::add(kIsFirst ? Ints{} : counts[p][part], w[part] ^ word);
    }
  }
}

// Counts of registers that hold a word of each lane.
template <class Set, int kPixels>
SIMAN_INLINED inline void count_words(const Patch& patch, Counts<Set, kPixels>& counts) {
  const std::ptrdiff_t stride = patch.pixel_stride;
  const std::uint32_t* weights = patch.weights;
  const std::uint32_t* x = patch.input + patch.offsets[0];
  const std::uint32_t* fifth = x + 4 * stride;
  asm("" : "+r"(fifth));
  count_word<true, Set, kPixels>(x, fifth, stride, weights, counts);
  const auto count_from = [&](int first) SIMAN_INLINED {
    for (int k = first; k < patch.words; ++k) {
      weights += Set::kLanes;
      count_word<false, Set, kPixels>(x + k, fifth + k, stride, weights, counts);
    }
  };
  count_from(1);
  for (int s = 1; s < patch.segments; ++s) {
    keep_in_memory(&patch);  // as in `to_float`
    x = patch.input + patch.offsets[s];
    fifth = x + 4 * stride;
    asm("" : "+r"(fifth));
    count_from(0);
  }
}

template <int kLanes>
void copy_word(const std::uint32_t* filter, std::uint32_t* weights) {
  std::memcpy(weights, filter, kLanes * sizeof(*filter));
}

// The passes over 1 to Set::kMostPixels positions.
template <class Set, std::size_t... kBefore>
constexpr Kernel with_passes(Kernel kernel, std::index_sequence<kBefore...>) {
  ((kernel.to_float[kBefore] = to_float<Set, kBefore + 1>), ...);
  ((kernel.to_int8[kBefore] = to_int8<Set, kBefore + 1>), ...);
  ((kernel.to_bits[kBefore] = to_bits<Set, kBefore + 1>), ...);
  return kernel;
}

// 65,536 values take 2.5 microseconds with wide vectors (Zen 4), and another core, which fetches its
// share from this one's cache, no less. With narrow ones, as on a Raspberry Pi, they take far longer.
constexpr std::int64_t kValuesAlone = kNativeBytes > 16 ? 65536 : 2048;

template <class Set>
constexpr Kernel kernel_of(const char* name, std::int64_t (*count_in_registers)(std::int64_t),
                           const Kernel* narrow = nullptr, double narrow_share = 0) {
  Kernel kernel = {};
  kernel.name = name;
  kernel.narrow = narrow;
  kernel.narrow_share = narrow_share;
  kernel.lanes = Set::kLanes;
  kernel.most_pixels = Set::kMostPixels;
  kernel.weight_words = 1;
  kernel.arrange = copy_word<Set::kLanes>;
  kernel.pack = pack<Set>;
  kernel.apply = apply;
  kernel.largest = largest;
  kernel.add_rows = add_rows;
  kernel.values_alone = kValuesAlone;
  kernel.count_in_registers = count_in_registers;
  return with_passes<Set>(kernel, std::make_index_sequence<Set::kMostPixels>());
}

}  // namespace
}  // namespace siman

#endif  // SIMAN_KERNEL_COMMON_H_
