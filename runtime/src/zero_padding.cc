#include "zero_padding.h"

#include <algorithm>
#include <map>
#include <utility>

namespace siman {
namespace {

using Taps = std::vector<bool>;  // true inside the image

// For each output position the index of its taps in `sets`, in order of appearance.
std::vector<int> positions(const Window& window, std::vector<Taps>& sets) {
  std::map<Taps, int> known;
  std::vector<int> result;
  for (int position = 0; position < window.output; ++position) {
    Taps inside(static_cast<std::size_t>(window.size));
    for (int tap = 0; tap < window.size; ++tap) inside[tap] = window.inside(position, tap);
    const auto [found, is_new] = known.emplace(inside, static_cast<int>(sets.size()));
    if (is_new) sets.push_back(inside);
    result.push_back(found->second);
  }
  return result;
}

bool all(const Taps& taps) { return std::find(taps.begin(), taps.end(), false) == taps.end(); }

}  // namespace

void ZeroPadding::fit(const Window& rows, const Window& columns, const std::vector<int>& tap_sums,
                      const std::vector<float>& multipliers) {
  std::vector<Taps> row_sets, column_sets;
  row_set_ = positions(rows, row_sets);
  column_set_ = positions(columns, column_sets);
  column_sets_ = static_cast<int>(column_sets.size());
  values_.clear();
  const int taps = rows.size * columns.size;
  for (const Taps& row : row_sets) {
    for (const Taps& column : column_sets) {
      values_.emplace_back();
      if (all(row) && all(column)) continue;
      for (std::size_t channel = 0; channel < multipliers.size(); ++channel) {
        int outside = 0;
        for (int tap = 0; tap < taps; ++tap) {
          if (!row[tap / columns.size] || !column[tap % columns.size]) {
            outside += tap_sums[channel * taps + tap];
          }
        }
        values_.back().push_back(multipliers[channel] * static_cast<float>(outside));
      }
    }
  }
}

}  // namespace siman
