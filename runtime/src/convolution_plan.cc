#include "convolution_plan.h"

#include <algorithm>

#include "error.h"

namespace siman {

ConvolutionPlan::Extent::Extent(const Window& of) : window(of) {
  travel = std::ptrdiff_t{window.output - 1} * window.stride;
  before = std::min<std::ptrdiff_t>(window.before, travel + 1);
  size = place(window.size - 1) + travel + 1;
}

std::ptrdiff_t ConvolutionPlan::Extent::place(int tap) const {
  const std::ptrdiff_t from_image = std::ptrdiff_t{tap} * window.dilation - window.before;
  return std::clamp<std::ptrdiff_t>(from_image, -(travel + 1), window.input) + before;
}

ConvolutionPlan::ConvolutionPlan(const std::string& op, Window rows, Window columns,
                                 const PackedFilter& filter, const Dims& input)
    : position_words_(filter.words_in()) {
  if (input.size() != 4 || input[3] != position_words_) {
    fail(op, ": its input has ", input.empty() ? 0 : input.back(), " words of rank ", input.size(),
         "; ", filter.channels_in(), " channels need ", position_words_,
         " of rank 4. The file is damaged: convert the model again.");
  }
  elements(op, input);
  batch_ = input[0];
  rows.fit(op, input[1]);
  columns.fit(op, input[2]);
  tall_ = Extent(rows);
  wide_ = Extent(columns);
  row_words_ = (padded_words() > 0 ? wide_.size : columns.input) * position_words_;
  const bool is_whole = wide_.place(columns.size - 1) - wide_.place(0) == columns.size - 1;
  is_joined_ = filter.groups() == 1 && columns.dilation == 1 && is_whole;
  segment_words_ = is_joined_ ? columns.size * position_words_ : filter.group_words();
}

std::int64_t ConvolutionPlan::padded_words() const {
  if (!tall_.has_padding() && !wide_.has_padding()) return 0;
  return std::int64_t{tall_.size} * wide_.size * position_words_;
}

void ConvolutionPlan::pad(const std::uint32_t* image, std::uint32_t* padded) const {
  const std::ptrdiff_t left = wide_.before * position_words_;
  const std::ptrdiff_t image_row = std::ptrdiff_t{wide_.window.input} * position_words_;
  const std::ptrdiff_t copied = std::min(image_row, row_words_ - left);
  for (std::ptrdiff_t y = -tall_.before; y < tall_.size - tall_.before; ++y) {
    if (y < 0 || y >= tall_.window.input) {
      padded = std::fill_n(padded, row_words_, 0u);
      continue;
    }
    padded = std::fill_n(padded, left, 0u);
    padded = std::copy_n(image + y * image_row, copied, padded);
    padded = std::fill_n(padded, row_words_ - left - copied, 0u);
  }
}

std::vector<std::ptrdiff_t> ConvolutionPlan::offsets() const {
  std::vector<std::ptrdiff_t> offsets;
  for (int y = 0; y < tall_.window.size; ++y) {
    for (int x = 0; x < (is_joined_ ? 1 : wide_.window.size); ++x) {
      offsets.push_back(tall_.place(y) * row_words_ + wide_.place(x) * position_words_);
    }
  }
  return offsets;
}

}  // namespace siman
