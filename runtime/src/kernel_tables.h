// Counting by tables, for AVX2 and for AVX-512BW without VPOPCNTDQ. Four bits of an activation
// choose a table of 16 bytes: in how many bits they differ from each four bits that a weight may
// have. The weights, four bits in a byte, look up in it, so that two instructions (shuffle and add)
// take in four bits of as many channels as a register has bytes.
//
// A byte of activations needs two tables, which lie side by side: its lower half's for the lower 16
// bytes, its upper half's for the upper 16. Sums stay in bytes for as long as bytes can take them,
// then in 16 bits.
#ifndef SIMAN_KERNEL_TABLES_H_
#define SIMAN_KERNEL_TABLES_H_

#include <immintrin.h>

#include "kernel_common.h"

namespace siman {
namespace {

using Bytes = std::uint8_t __attribute__((vector_size(kNativeBytes)));
using Shorts = std::uint16_t __attribute__((vector_size(kNativeBytes)));

constexpr int kBlock = 16;           // channels whose weights lie side by side
constexpr int kWordsPerByte = 15;    // 15 words * 4 bytes * 4 bits < 256
constexpr int kBytesPerShort = 136;  // 2 halves * 136 * 15 words * 4 bytes * 4 bits < 65,536

struct Tables {
  constexpr Tables() {
    for (int activation = 0; activation < 256; ++activation) {
      for (int weight = 0; weight < 16; ++weight) {
        differing[activation][weight] = bits((activation & 15) ^ weight);
        differing[activation][weight + 16] = bits((activation >> 4) ^ weight);
      }
    }
  }
  static constexpr std::uint8_t bits(int half) {
    return static_cast<std::uint8_t>((half & 1) + (half >> 1 & 1) + (half >> 2 & 1) + (half >> 3));
  }
  alignas(64) std::uint8_t differing[256][32] = {};
};
constexpr Tables kTables;

template <int kLanes>
void arrange(const std::uint32_t* filter, std::uint32_t* weights) {
  std::uint8_t to[4][kLanes / kBlock][2][kBlock];
  for (int byte = 0; byte < 4; ++byte) {
    for (int lane = 0; lane < kLanes; ++lane) {
      const std::uint32_t value = filter[lane] >> 8 * byte;
      to[byte][lane / kBlock][0][lane % kBlock] = value & 15;
      to[byte][lane / kBlock][1][lane % kBlock] = value >> 4 & 15;
    }
  }
  std::memcpy(weights, to, sizeof(to));
}

template <class Set>
constexpr int kVectors = 2 * Set::kLanes / kNativeBytes;

// Sums of kPixels positions that are too large for bytes. `Set` has what depends on the registers'
// width: `widened` adds up both halves of each channel, `widest` makes integers of shorts.
template <class Set, int kPixels>
class Sums {
 public:
  SIMAN_INLINED void take(const Bytes (&bytes)[kPixels][kVectors<Set>]) {
#pragma GCC unroll 8
    for (int p = 0; p < kPixels; ++p) {
#pragma GCC unroll 4
      for (int v = 0; v < kVectors<Set>; ++v) {
        const Shorts shorts = Set::widened(bytes[p][v]);
        shorts_[p][v] = taken_ == 0 ? shorts : shorts_[p][v] + shorts;
      }
    }
    keep_in_memory(this);
    if (++taken_ == kBytesPerShort - 1) move_on();
  }
  // With the last bytes.
  SIMAN_INLINED void finish(const Bytes (&bytes)[kPixels][kVectors<Set>],
                            Counts<Set, kPixels>& counts) const {
#pragma GCC unroll 8
    for (int p = 0; p < kPixels; ++p) {
#pragma GCC unroll 4
      for (int v = 0; v < kVectors<Set>; ++v) {
        Shorts shorts = Set::widened(bytes[p][v]);
        if (taken_ != 0) shorts += shorts_[p][v];
        Set::widest(shorts, counts[p] + v * kInVector);
      }
    }
    if (has_moved_on_) add(ints_, counts);
  }

 private:
  static constexpr int kInVector = kParts<Set> / kVectors<Set>;

  static void add(const Counts<Set, kPixels>& from, Counts<Set, kPixels>& to) {
#pragma GCC unroll 8
    for (int p = 0; p < kPixels; ++p) {
#pragma GCC unroll 4
      for (int part = 0; part < kParts<Set>; ++part) to[p][part] += from[p][part];
    }
  }
  // From shorts to integers.
  void move_on() {
    Counts<Set, kPixels> counts;
    for (int p = 0; p < kPixels; ++p) {
      for (int v = 0; v < kVectors<Set>; ++v) Set::widest(shorts_[p][v], counts[p] + v * kInVector);
    }
    if (has_moved_on_) add(ints_, counts);
    std::memcpy(ints_, counts, sizeof(ints_));
    has_moved_on_ = true;
    taken_ = 0;
  }

  int taken_ = 0;  // how often since shorts were last moved on
  bool has_moved_on_ = false;
  Shorts shorts_[kPixels][kVectors<Set>];
  Counts<Set, kPixels> ints_;
};

template <class Set, int kPixels>
SIMAN_INLINED inline void count_by_tables(const Patch& patch, Counts<Set, kPixels>& counts) {
  Sums<Set, kPixels> sums;
  Bytes bytes[kPixels][kVectors<Set>];
  clear(bytes);
  const std::uint32_t* weights = patch.weights;
  const std::ptrdiff_t stride = patch.pixel_stride;
  int room = kWordsPerByte;
  for (int s = 0; s < patch.segments; ++s) {
    const std::uint32_t* x = patch.input + patch.offsets[s];
    for (int left = patch.words; left > 0;) {
      if (room == 0) {
        sums.take(bytes);
        clear(bytes);
        room = kWordsPerByte;
      }
      const int now = left < room ? left : room;
      for (int k = 0; k < now; ++k, ++x) {
#pragma GCC unroll 4
        for (int byte = 0; byte < 4; ++byte, weights += Set::kLanes / 2) {
          Bytes w[kVectors<Set>];
#pragma GCC unroll 4
          for (int v = 0; v < kVectors<Set>; ++v) w[v] = load<Bytes>(weights + v * kStep);
#pragma GCC unroll 8
          for (int p = 0; p < kPixels; ++p) {
            const auto* activations = reinterpret_cast<const std::uint8_t*>(x + p * stride);
            const Bytes table = Set::table(kTables.differing[activations[byte]]);
#pragma GCC unroll 4
            for (int v = 0; v < kVectors<Set>; ++v) {
              Bytes& sum = bytes[p][v];
              sum += Set::look_up(table, w[v]);
              asm("" : "+v"(sum));  // or g++ adds up four terms first, and has no register for them
            }
          }
        }
      }
      left -= now;
      room -= now;
    }
  }
  sums.finish(bytes, counts);
}

// For nothing but the time it takes; returns how many bits.
template <class Set>
std::int64_t look_up_in_registers(std::int64_t rounds) {
  Bytes x[6];
  for (int i = 0; i < 6; ++i) x[i] = Bytes{} + static_cast<std::uint8_t>(i);
  const Bytes table = Set::table(kTables.differing[0]);
  for (std::int64_t round = 0; round < rounds; ++round) {
#pragma GCC unroll 8
    for (int i = 0; i < 6; ++i) {
      x[i] += Set::look_up(table, x[i]);
      asm volatile("" : "+x"(x[i]));
    }
  }
  return rounds * 6 * 4 * kNativeBytes;
}

template <class Set>
constexpr Kernel kernel_by_tables(const char* name, const Kernel* narrow = nullptr,
                                  double narrow_share = 0) {
  Kernel kernel = kernel_of<Set>(name, look_up_in_registers<Set>, narrow, narrow_share);
  kernel.weight_words = 2;
  kernel.arrange = arrange<Set::kLanes>;
  return kernel;
}

}  // namespace
}  // namespace siman

#endif  // SIMAN_KERNEL_TABLES_H_
