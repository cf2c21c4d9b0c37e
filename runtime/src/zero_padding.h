// What zeros around an image add to a convolution that was computed with +1 around it.
#ifndef SIMAN_ZERO_PADDING_H_
#define SIMAN_ZERO_PADDING_H_

#include <cstdint>
#include <utility>
#include <vector>

#include "packed_filter.h"
#include "window.h"

namespace siman {

class ZeroPadding {
 public:
  // At most.
  static std::int64_t bytes(const Window& rows, const Window& columns, const PackedFilter& filter);
  // `multipliers` by lane.
  void build(const Window& rows, const Window& columns, const PackedFilter& filter,
             const std::vector<float>& multipliers);

  // For neighbouring output positions what to add to the lanes from `lane` on; null where the
  // window lies inside the image.
  void find(int y, int x, int positions, std::int64_t lane, const float** found) const {
    const std::int64_t row = std::int64_t{rows_.of[y]} * columns_.count();
    for (int p = 0; p < positions; ++p) {
      const std::int64_t place = row + columns_.of[x + p];
      found[p] = place == inside_ ? nullptr : values_.data() + place * lanes_ + lane;
    }
  }

 private:
  // Positions with the same taps inside the image share their values: an index for each, and for
  // each index the first of these taps and the one behind the last.
  struct Sets {
    explicit Sets(const Window& window = {});
    int count() const { return static_cast<int>(taps.size()); }

    std::vector<int> of;
    std::vector<std::pair<int, int>> taps;
    int inside = -1;  // the index of all taps, if there is one
  };

  Sets rows_;
  Sets columns_;
  std::int64_t inside_ = -1;  // the pair of indices of all taps, if there is one
  std::int64_t lanes_ = 0;
  std::vector<float> values_;  // for each pair of indices, by lane
};

}  // namespace siman

#endif  // SIMAN_ZERO_PADDING_H_
