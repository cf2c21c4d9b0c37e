// The filter of a binary convolution, laid out for the kernels: its output channels in blocks of
// as many as a kernel takes in one pass, each block of one group.
#ifndef SIMAN_PACKED_FILTER_H_
#define SIMAN_PACKED_FILTER_H_

#include <algorithm>
#include <cstdint>
#include <string>
#include <vector>

#include "ops.h"

namespace siman {

class PackedFilter {
 public:
  // Throws Error if the tensor is no filter for so many input channels. Its data must live on.
  PackedFilter(const std::string& op, const Tensor* filter, int channels_in,
               const Kernel& kernel);

  int rows() const { return rows_; }
  int columns() const { return columns_; }
  int groups() const { return groups_; }
  int channels_in() const { return channels_in_; }  // of all groups
  int channels_out() const { return channels_out_; }
  int words_in() const { return words_for(channels_in_); }
  int group_words() const { return words_for(channels_per_group_); }
  // Signs in a receptive field.
  std::int64_t signs() const { return taps() * channels_per_group_; }

  // What goes over the blocks.
  const Kernel& kernel() const { return *kernel_; }
  int blocks() const { return groups_ * blocks_per_group_; }
  int group_of(int block) const { return block / blocks_per_group_; }
  int channel_of(int block) const {
    return group_of(block) * outputs_per_group_ + block % blocks_per_group_ * kernel_->lanes;
  }
  int lanes_of(int block) const {
    return std::min(kernel_->lanes, outputs_per_group_ - block % blocks_per_group_ * kernel_->lanes);
  }
  bool has_whole_words_out() const { return outputs_per_group_ % kWordBits == 0; }
  // Where the lanes of all blocks lie one behind the other: how many, and that of an output channel.
  std::int64_t lanes() const { return std::int64_t{blocks()} * kernel_->lanes; }
  std::int64_t lane_of(int channel) const {
    return std::int64_t{channel / outputs_per_group_} * blocks_per_group_ * kernel_->lanes +
           channel % outputs_per_group_;
  }

  std::int64_t packed_bytes() const { return blocks() * block_words() * kBytes; }
  void pack();  // before `weights`
  const std::uint32_t* weights(int block) const {
    return packed_.data() + block * block_words();
  }
  // The sum of the signs of one output channel at each tap.
  std::vector<std::int32_t> tap_sums(int channel) const;

 private:
  static constexpr std::int64_t kBytes = sizeof(std::uint32_t);

  std::int64_t taps() const { return std::int64_t{rows_} * columns_; }
  std::int64_t block_words() const {
    return taps() * group_words() * kernel_->weight_words * kernel_->lanes;
  }
  const std::uint32_t* words_of(int channel, std::int64_t tap) const {
    return data_ + (channel * taps() + tap) * group_words();
  }

  const Kernel* kernel_;
  const std::uint32_t* data_ = nullptr;
  int rows_ = 0;
  int columns_ = 0;
  int groups_ = 1;
  int channels_in_ = 0;
  int channels_out_ = 0;
  int channels_per_group_ = 0;
  int outputs_per_group_ = 0;
  int blocks_per_group_ = 0;
  std::vector<std::uint32_t> packed_;
};

}  // namespace siman

#endif  // SIMAN_PACKED_FILTER_H_
