// What depends on the instruction set: counting the bits in which weights and activations differ,
// turning counts into outputs, and packing signs. One table of functions per instruction set.
#ifndef SIMAN_KERNEL_H_
#define SIMAN_KERNEL_H_

#include <cstddef>
#include <cstdint>
#include <limits>
#include <string>

namespace siman {

constexpr int kLanes = 16;      // output channels of one pass
constexpr int kMostPixels = 8;  // output positions of one pass, at most

// One pass over the receptive fields of some neighbouring output positions. A receptive field is
// `segments` runs of `words` consecutive words.
struct Patch {
  const std::uint32_t* weights;     // [segments][words][kLanes]
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

// Parameters of kLanes output channels, each array of that length.
struct Transform {
  std::int32_t low;   // bounds of 2 * count, by the fused activation
  std::int32_t high;
  const float* multiplier;
  const float* bias;
  const std::int32_t* threshold;
};

// What is added to the outputs of neighbouring positions, in this order.
struct Additions {
  const float* const* zeros;  // for zero padding: for each position kLanes values or null; or null
  const float* addend;        // laid out as the output, and may be the output; or null
  Bounds bounds;              // of sums with the addend
};

struct Kernel {
  const char* name;
  int most_pixels;
  // counts[p * kLanes + l]: differing bits of position p and channel l. By position count - 1.
  void (*count[kMostPixels])(const Patch&, std::int32_t* counts);
  // The three below take the counts of `pixels` positions; outputs of neighbouring positions are
  // `stride` values apart. y = float(clamp(2 * count)) * multiplier + bias, kLanes of them, and what
  // is added.
  void (*to_float)(const std::int32_t* counts, int pixels, const Transform&, const Additions&,
                   float* output, std::ptrdiff_t stride);
  // y, rounded half away from zero and saturated.
  void (*to_int8)(const std::int32_t* counts, int pixels, const Transform&, std::int8_t* output,
                  std::ptrdiff_t stride);
  // Bit l of output p is counts[p * kLanes + l] > threshold[l].
  void (*to_bits)(const std::int32_t* counts, int pixels, const Transform&, std::uint32_t* output);
  // Bit c of word w is values[32 * w + c] < 0.
  void (*pack)(const float* values, std::int64_t words, std::uint32_t* output);
  // Counts bits in registers, for nothing but the time it takes; returns how many bits.
  std::int64_t (*count_in_registers)(std::int64_t rounds);
};

extern const Kernel kPortableKernel;
#if defined(__x86_64__)
extern const Kernel kAvx2Kernel;
extern const Kernel kAvx512Kernel;
#elif defined(__aarch64__)
extern const Kernel kNeonKernel;
#endif

// The fastest that this processor runs, or what the environment variable SIMAN_KERNEL names.
// Throws Error if that is unknown or does not run here.
const Kernel& chosen_kernel();

}  // namespace siman

#endif  // SIMAN_KERNEL_H_
