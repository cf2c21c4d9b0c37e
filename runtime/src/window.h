// A window that moves over one spatial dimension.
#ifndef SIMAN_WINDOW_H_
#define SIMAN_WINDOW_H_

#include <cstdint>
#include <string>

namespace siman {

struct Window {
  int size = 1;
  int stride = 1;
  int dilation = 1;
  bool same = false;  // padding as for TensorFlow's "SAME", else "VALID"
  bool may_be_larger = false;  // than the input, and then has one output, of all that there is

  int input = 0;
  int output = 0;
  int before = 0;  // padded positions before the first

  std::int64_t reach() const { return std::int64_t{size - 1} * dilation + 1; }
  // Sets the last three; throws Error if there is no output.
  void fit(const std::string& op, int positions);
  // The input position under a tap; may lie outside.
  int at(int position, int tap) const { return position * stride - before + tap * dilation; }
  // The taps inside the input are those from the first one on, up to the second.
  int first_inside(int position) const;
  int end_inside(int position) const;
};

}  // namespace siman

#endif  // SIMAN_WINDOW_H_
