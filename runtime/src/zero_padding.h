// What zeros around an image add to a convolution that was computed with +1 around it.
#ifndef SIMAN_ZERO_PADDING_H_
#define SIMAN_ZERO_PADDING_H_

#include <vector>

#include "ops.h"

namespace siman {

class ZeroPadding {
 public:
  // `tap_sums`: for each channel and tap the sum of the filter's signs.
  void fit(const Window& rows, const Window& columns, const std::vector<int>& tap_sums,
           const std::vector<float>& multipliers);

  // For neighbouring output positions what to add to the channels from `channel` on; null where
  // the window lies inside the image.
  void find(int y, int x, int positions, int channel, const float** found) const {
    const int row = row_set_[y] * column_sets_;
    for (int p = 0; p < positions; ++p) {
      const std::vector<float>& values = values_[row + column_set_[x + p]];
      found[p] = values.empty() ? nullptr : values.data() + channel;
    }
  }

 private:
  // Positions of the output with the same taps outside the image share their values: an index for
  // each row and each column, and the channels' values for each pair of indices.
  std::vector<int> row_set_;
  std::vector<int> column_set_;
  int column_sets_ = 0;
  std::vector<std::vector<float>> values_;
};

}  // namespace siman

#endif  // SIMAN_ZERO_PADDING_H_
