// What depends on the instruction set: counting the bits in which weights and activations differ,
// turning counts into outputs, and packing signs. One table of functions per instruction set.
#ifndef SIMAN_KERNEL_H_
#define SIMAN_KERNEL_H_

#include <cstddef>
#include <cstdint>
#include <string>

#include "stage.h"

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
  Bounds bounds;              // of all that is then written
};

struct Kernel {
  const char* name;
  int lanes;  // output channels of one pass
  int most_pixels;
  const Kernel* narrow;  // with fewer lanes; or null
  double narrow_share;   // of the time of a pass that a pass of the narrow one takes, as measured
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
  // Of rows of so many channels, one behind the other: bit c of a row's words is value c < threshold.
  void (*pack)(const float* values, std::int64_t rows, int channels, float threshold,
               std::uint32_t* output);
  // What a stage makes of values, each with its own of `others`, or all with the first.
  void (*apply)(const Stage&, const float* values, const float* others, std::int64_t count,
                float* output);
  // Of each channel the largest under a window of so many positions, whose rows are `stride` values
  // apart.
  void (*largest)(const float* values, int rows, int columns, std::int64_t stride, int channels,
                  float* output);
  // Sums of `count` columns of `rows` rows that are `stride` values apart, row after row.
  void (*add_rows)(const float* values, std::int64_t rows, std::int64_t stride, std::int64_t count,
                   float* sums);
  // Up to so many values one thread reads sooner by itself than with others.
  std::int64_t values_alone;
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

// In how many blocks of its lanes it takes so many channels.
inline int blocks_for(const Kernel& kernel, int channels) {
  return (channels + kernel.lanes - 1) / kernel.lanes;
}

// `kernel`, or its narrow one where that takes less time.
inline const Kernel& fitting(const Kernel& kernel, int channels) {
  if (kernel.narrow == nullptr) return kernel;
  const double narrow = kernel.narrow_share * blocks_for(*kernel.narrow, channels);
  return narrow < blocks_for(kernel, channels) ? *kernel.narrow : kernel;
}

}  // namespace siman

#endif  // SIMAN_KERNEL_H_
