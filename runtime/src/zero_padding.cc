#include "zero_padding.h"

#include <algorithm>
#include <map>

namespace siman {
namespace {

// Sums over the taps of any rectangle of a filter, from sums over those that begin at its corner.
class RectangleSums {
 public:
  RectangleSums(int rows, int columns, const std::vector<std::int32_t>& taps)
      : width_(std::size_t{1} + columns), sums_((std::size_t{1} + rows) * width_, 0) {
    for (int y = 0; y < rows; ++y) {
      std::int32_t row = 0;
      for (int x = 0; x < columns; ++x) {
        row += taps[std::size_t{1} * y * columns + x];
        sums_[(y + 1) * width_ + x + 1] = at(y, x + 1) + row;
      }
    }
  }

  // Of the taps from the first up to the second of each pair.
  std::int32_t sum(std::pair<int, int> y, std::pair<int, int> x) const {
    return at(y.second, x.second) - at(y.first, x.second) - at(y.second, x.first) +
           at(y.first, x.first);
  }

 private:
  std::int32_t at(int y, int x) const { return sums_[y * width_ + x]; }

  std::size_t width_;
  std::vector<std::int32_t> sums_;
};

}  // namespace

ZeroPadding::Sets::Sets(const Window& window) {
  std::map<std::pair<int, int>, int> known;
  for (int position = 0; position < window.output; ++position) {
    const int first = window.first_inside(position);
    const std::pair<int, int> inside_taps = {first, std::max(first, window.end_inside(position))};
    const auto [found, is_new] = known.emplace(inside_taps, count());
    if (is_new) taps.push_back(inside_taps);
    of.push_back(found->second);
  }
  const auto all = known.find({0, window.size});
  if (all != known.end()) inside = all->second;
}

std::int64_t ZeroPadding::bytes(const Window& rows, const Window& columns,
                                const PackedFilter& filter) {
  const auto sets = [](const Window& window) {  // each tap comes in once and goes out once
    return std::min<std::int64_t>(window.output, 2 * std::int64_t{window.size} + 1);
  };
  const std::int64_t positions = std::int64_t{rows.output} + columns.output;
  return sets(rows) * sets(columns) * filter.lanes() * std::int64_t{sizeof(float)} +
         positions * std::int64_t{sizeof(int)};
}

void ZeroPadding::build(const Window& rows, const Window& columns, const PackedFilter& filter,
                        const std::vector<float>& multipliers) {
  rows_ = Sets(rows);
  columns_ = Sets(columns);
  const bool any = rows_.inside >= 0 && columns_.inside >= 0;
  inside_ = any ? std::int64_t{rows_.inside} * columns_.count() + columns_.inside : -1;
  lanes_ = filter.lanes();
  const std::size_t pairs = rows_.taps.size() * columns_.taps.size();
  values_.assign(pairs * static_cast<std::size_t>(lanes_), 0.0f);
  for (int channel = 0; channel < filter.channels_out(); ++channel) {
    const RectangleSums sums(filter.rows(), filter.columns(), filter.tap_sums(channel));
    const std::int32_t all = sums.sum({0, filter.rows()}, {0, filter.columns()});
    float* value = values_.data() + filter.lane_of(channel);
    for (const auto& row : rows_.taps) {
      for (const auto& column : columns_.taps) {
        *value = multipliers[filter.lane_of(channel)] *
                 static_cast<float>(all - sums.sum(row, column));
        value += lanes_;
      }
    }
  }
}

}  // namespace siman
