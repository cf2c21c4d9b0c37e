#include "window.h"

#include <algorithm>

#include "error.h"

namespace siman {

void Window::fit(const std::string& op, int positions) {
  const std::int64_t covered = same ? positions : positions - reach() + 1;
  const std::int64_t least = may_be_larger ? 1 : 0;
  const std::int64_t count = covered <= 0 ? least : (covered + stride - 1) / stride;
  if (count < 1) {
    fail(op, ": an input of ", positions, " positions is smaller than the window, which reaches over ",
         reach(), ".");
  }
  input = positions;
  output = static_cast<int>(count);
  const std::int64_t padding = (count - 1) * stride + reach() - positions;
  before = same ? static_cast<int>(std::max<std::int64_t>(padding, 0) / 2) : 0;
}

int Window::first_inside(int position) const {
  const int outside = std::max(-at(position, 0), 0);
  return static_cast<int>(std::min<std::int64_t>((std::int64_t{outside} + dilation - 1) / dilation, size));
}

int Window::end_inside(int position) const {
  const int left = std::max(input - at(position, 0), 0);
  return static_cast<int>(std::min<std::int64_t>((std::int64_t{left} + dilation - 1) / dilation, size));
}

}  // namespace siman
