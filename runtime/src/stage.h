// A float32 op on each value by itself, as data: several in a row are done in one pass.
#ifndef SIMAN_STAGE_H_
#define SIMAN_STAGE_H_

#include <limits>

namespace siman {

// A value that is no number stays.
struct Bounds {
  float low = -std::numeric_limits<float>::infinity();
  float high = std::numeric_limits<float>::infinity();

  float clamp(float value) const {
    value = value < low ? low : value;
    return value > high ? high : value;
  }
};

struct Stage {
  enum class Kind { kKeep, kAdd, kSubtract, kSubtractFrom, kMultiply, kPrelu };
  // What each value meets: nothing; one of a tensor of the same dimensions; the one that a tensor has
  // for each sample; constants, one for each channel or one for all.
  enum class Other { kNone, kTensor, kOfSample, kOfChannel, kOfAll };

  Kind kind = Kind::kKeep;
  Other other = Other::kNone;
  int main = 0;                     // which input the values come from
  const float* constants = nullptr;
  int channels = 0;                 // of constants
  Bounds bounds;                    // of what it gives

  bool has_one_other() const { return other != Other::kTensor && other != Other::kOfChannel; }
  bool reads_tensor() const { return other == Other::kTensor || other == Other::kOfSample; }
};

}  // namespace siman

#endif  // SIMAN_STAGE_H_
