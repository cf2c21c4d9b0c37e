#include "packed_filter.h"

#include "error.h"

namespace siman {
namespace {

constexpr int kLargestSide = 1 << 15;
constexpr int kMostSigns = 1 << 28;  // in a receptive field

}  // namespace

PackedFilter::PackedFilter(const std::string& op, const Tensor* filter, int channels_in,
                           const Kernel& kernel)
    : kernel_(&kernel), channels_in_(channels_in) {
  if (filter == nullptr || filter->type != Type::kBits || filter->data == nullptr ||
      filter->dims.size() != 4) {
    fail(op, ": its filter must be a constant int32 tensor of rank 4.");
  }
  const Dims& dims = filter->dims;
  elements(op, dims);
  data_ = static_cast<const std::uint32_t*>(filter->data);
  channels_out_ = dims[0];
  rows_ = dims[1];
  columns_ = dims[2];
  if (rows_ > kLargestSide || columns_ > kLargestSide) {
    fail(op, ": a filter of ", rows_, " x ", columns_, " is too large.");
  }
  const int words = words_in();
  groups_ = words / dims[3];
  const bool even = groups_ > 0 && words % dims[3] == 0 && channels_out_ % groups_ == 0 &&
                    channels_in_ % groups_ == 0;
  channels_per_group_ = even ? channels_in_ / groups_ : 0;
  if (!even || group_words() != dims[3] || (groups_ > 1 && channels_per_group_ % kWordBits != 0)) {
    fail(op, ": a filter of ", channels_out_, " channels and ", dims[3], " words does not fit ",
         channels_in_, " input channels (groups need whole words of 32 channels). The file is "
         "damaged: convert the model again.");
  }
  outputs_per_group_ = channels_out_ / groups_;
  kernel_ = &fitting(kernel, outputs_per_group_);
  blocks_per_group_ = blocks_for(*kernel_, outputs_per_group_);
  if (signs() > kMostSigns) fail(op, ": a receptive field of ", signs(), " signs is too large.");
}

void PackedFilter::pack() {
  if (!packed_.empty()) return;
  packed_.assign(static_cast<std::size_t>(packed_bytes() / kBytes), 0);
  std::uint32_t* to = packed_.data();
  for (int block = 0; block < blocks(); ++block) {
    for (std::int64_t tap = 0; tap < taps(); ++tap) {
      for (int word = 0; word < group_words(); ++word) {
        std::uint32_t of_lanes[kMostLanes] = {};
        for (int lane = 0; lane < lanes_of(block); ++lane) {
          of_lanes[lane] = words_of(channel_of(block) + lane, tap)[word];
        }
        kernel_->arrange(of_lanes, to);
        to += kernel_->weight_words * kernel_->lanes;
      }
    }
  }
}

std::vector<std::int32_t> PackedFilter::tap_sums(int channel) const {
  std::vector<std::int32_t> sums(static_cast<std::size_t>(taps()));
  for (std::int64_t tap = 0; tap < taps(); ++tap) {
    int set = 0;
    for (int word = 0; word < group_words(); ++word) {
      set += __builtin_popcount(words_of(channel, tap)[word]);
    }
    sums[tap] = channels_per_group_ - 2 * set;
  }
  return sums;
}

}  // namespace siman
