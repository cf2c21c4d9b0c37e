// What depends on the instruction set: counting the bits in which weights and activations differ,
// turning counts into outputs, and packing signs. One table of functions per instruction set.
#ifndef SIMAN_KERNEL_H_
#define SIMAN_KERNEL_H_

#include <cstddef>
#include <cstdint>
#include <limits>
#include <string>

namespace siman {

constexpr int kMostLanes = 32;  // output channels of one pass
constexpr int kMostPixels = 8;  // output positions of one pass

// One pass over the receptive fields of some neighbouring output positions. A receptive field is
// `segments` runs of `words` consecutive words.
struct Patch {
  const std::uint32_t* weights;     // for each segment and word what Kernel::arrange made of it
  const std::uint32_t* input;       // of the first position
  std::ptrdiff_t pixel_stride;      // words from one position to the next
  const std::ptrdiff_t* offsets;    // [segments], from `input`
  int segments;
  int words;
};

// Of a sum; a value that is no number stays.
struct Bounds {
  float low = -std::numeric_limits<float>::infinity();
  float high = std::numeric_limits<float>::infinity();

  float clamp(float value) const {
    value = value < low ? low : value;
    return value > high ? high : value;
  }
};

// Of the output channels of one pass; y = float(clamp(2 * count)) * multiplier + bias, or without
// bounds float(count) * multiplier + bias, whose multiplier is twice as large.
struct Transform {
  bool is_bounded;
  std::int32_t low;   // bounds of 2 * count, by the fused activation
  std::int32_t high;
  const float* multiplier;
  const float* bias;
  const std::int32_t* threshold;
};

// What is added to the outputs of neighbouring positions, in this order.
struct Additions {
  const float* const* zeros;  // for zero padding: for each position a value by lane or null; or null
  const float* addend;        // laid out as the output, and may be the output; or null
  Bounds bounds;              // of sums with the addend
};

struct Kernel {
  const char* name;
  int lanes;  // output channels of one pass
  int most_pixels;
  const Kernel* narrow;  // instead, for no more output channels than it has lanes; or null
  // What the functions below read of one word of `lanes` channels: so many words for each of them.
  int weight_words;
  void (*arrange)(const std::uint32_t* filter, std::uint32_t* weights);
  // The three below count and transform; by number of positions - 1. Outputs of neighbouring
  // positions are `stride` values apart.
  void (*to_float[kMostPixels])(const Patch&, const Transform&, const Additions&, float* output,
                                std::ptrdiff_t stride);
  // y, rounded half away from zero and saturated.
  void (*to_int8[kMostPixels])(const Patch&, const Transform&, std::int8_t* output,
                               std::ptrdiff_t stride);
  // Bit l of output p is count > threshold[l].
  void (*to_bits[kMostPixels])(const Patch&, const Transform&, std::uint32_t* output);
  // Bit c of word w is values[32 * w + c] < 0.
  void (*pack)(const float* values, std::int64_t words, std::uint32_t* output);
  // Counts bits in registers, for nothing but the time it takes; returns how many bits.
  std::int64_t (*count_in_registers)(std::int64_t rounds);
};

extern const Kernel kPortableKernel;
#if defined(__x86_64__)
extern const Kernel kAvx2Kernel;
extern const Kernel kAvx2NarrowKernel;
extern const Kernel kAvx512BwKernel;
extern const Kernel kAvx512Kernel;
#elif defined(__aarch64__)
extern const Kernel kNeonKernel;
extern const Kernel kNeonDotKernel;
#endif

// The fastest that this processor runs, or what the environment variable SIMAN_KERNEL names.
// Throws Error if that is unknown or does not run here.
const Kernel& chosen_kernel();

// `kernel`, or its narrow one where that has lanes enough.
inline const Kernel& fitting(const Kernel& kernel, int channels) {
  return kernel.narrow != nullptr && channels <= kernel.narrow->lanes ? *kernel.narrow : kernel;
}

}  // namespace siman

#endif  // SIMAN_KERNEL_H_
