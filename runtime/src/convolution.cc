// LceBconv2d: a convolution of signs by signs.
//
// With K signs in a receptive field of which n differ from the filter's, the sum is K - 2 n. The
// output is float(clamp(2 n)) * (-multiplier / scale) + (bias + K * multiplier) / scale + zero
// point, the factors in double and stored as float, as Larq Compute Engine has it.
#include <algorithm>
#include <cstring>
#include <limits>

#include "error.h"
#include "ops.h"
#include "zero_padding.h"

namespace siman {
namespace {

constexpr int kLargest = 1 << 15;  // of sizes, strides and dilations
constexpr int kUnitChannels = kWordBits;
constexpr int kUnitBlocks = kUnitChannels / kLanes;

enum Activation { kNone = 0, kRelu = 1, kReluN1To1 = 2, kRelu6 = 3 };

struct Settings {
  Window rows;
  Window columns;
  int channels_in = 0;  // of all groups
  bool pad_with_zeros = false;
  int activation = kNone;
};

Settings read(const Options& options) {
  options.allow_only({"channels_in", "dilation_height_factor", "dilation_width_factor",
                      "fused_activation_function", "pad_values", "padding", "stride_height",
                      "stride_width"});
  Settings settings;
  settings.channels_in = options.get("channels_in", 1, 1 << 20);
  settings.rows.dilation = options.get("dilation_height_factor", 1, kLargest);
  settings.columns.dilation = options.get("dilation_width_factor", 1, kLargest);
  settings.rows.stride = options.get("stride_height", 1, kLargest);
  settings.columns.stride = options.get("stride_width", 1, kLargest);
  settings.rows.same = settings.columns.same = options.get("padding", 0, 1) == 0;
  settings.pad_with_zeros = options.get("pad_values", 0, 1) == 0 && settings.rows.same;
  settings.activation = options.get("fused_activation_function", kNone, kRelu6);
  return settings;
}

class Convolution final : public Op {
 public:
  Convolution(const Kernel& kernel, const Settings& settings, const Inputs& inputs,
              const Tensor& output);
  Dims prepare(const std::vector<Dims>& inputs) override;
  void run(const std::vector<const void*>& inputs, void* output, ThreadPool& pool) override;
  bool can_add() const override { return type_ == Type::kFloat32; }

 private:
  struct Image;
  struct Pass;

  int group_words() const { return words_for(channels_per_group_); }
  int blocks() const { return groups_ * blocks_per_group_; }
  // Signs in a receptive field.
  std::int64_t signs() const {
    return std::int64_t{rows_.size} * columns_.size * channels_per_group_;
  }
  std::int64_t block_words() const {
    return std::int64_t{rows_.size} * columns_.size * group_words() * kLanes;
  }
  std::uint32_t filter_word(int channel, int tap, int word) const {
    const std::int64_t taps = std::int64_t{rows_.size} * columns_.size;
    return filter_[(channel * taps + tap) * group_words() + word];
  }
  int channel_of(int block) const {
    return block / blocks_per_group_ * filters_per_group_ + block % blocks_per_group_ * kLanes;
  }
  int lanes_of(int block) const {
    return std::min(kLanes, filters_per_group_ - block % blocks_per_group_ * kLanes);
  }
  void check_filter(const Inputs& inputs);
  void set_transform(const Inputs& inputs, const Tensor& output, int activation);
  void reorder_filter();
  void set_segments();
  std::vector<int> tap_sums() const;
  const std::uint32_t* padded(const std::uint32_t* image);
  void run_unit(const Image& image, std::int64_t unit) const;
  void run_pass(const Pass& pass) const;
  void write_int8(const std::int32_t* counts, int pixels, const Transform& transform, int lanes,
                  std::int8_t* output) const;
  void write_floats(const Pass& pass, const std::int32_t* counts, const Transform& transform,
                    const float* addend, float* output) const;
  void write_bits(std::uint32_t bits, std::uint32_t* pixel, int channel, int lanes) const;

  Window rows_;
  Window columns_;
  const int channels_in_;
  const bool pad_with_zeros_;
  const Type type_;
  const std::uint32_t* filter_;
  int filters_ = 0;  // output channels
  int groups_ = 1;
  int channels_per_group_ = 0;
  int filters_per_group_ = 0;
  int blocks_per_group_ = 0;
  int blocks_per_unit_ = kUnitBlocks;

  // Each padded to whole blocks.
  std::vector<std::uint32_t> weights_;
  std::vector<float> multiplier_;
  std::vector<float> bias_;
  std::vector<std::int32_t> threshold_;
  std::int32_t low_ = 0;
  std::int32_t high_ = 0;

  // Of the prepared input.
  int batch_ = 0;
  int row_words_ = 0;  // from one row of the padded input to the next
  int padded_rows_ = 0;
  std::vector<std::uint32_t> padded_;
  std::vector<std::ptrdiff_t> offsets_;
  int segment_words_ = 0;
  ZeroPadding zero_padding_;
};

struct Convolution::Image {
  const std::uint32_t* input;
  const float* addend;  // or null
  void* output;
};

struct Convolution::Pass {
  const Image& image;
  const std::uint32_t* input;  // of the first position
  int block;
  int y;
  int x;
  int pixels;
};

Convolution::Convolution(const Kernel& kernel, const Settings& settings, const Inputs& inputs,
                         const Tensor& output)
    : Op("LceBconv2d", kernel),
      rows_(settings.rows),
      columns_(settings.columns),
      channels_in_(settings.channels_in),
      pad_with_zeros_(settings.pad_with_zeros),
      type_(output.type),
      filter_(static_cast<const std::uint32_t*>(inputs[1]->data)) {
  check_filter(inputs);
  if (pad_with_zeros_ && (type_ != Type::kFloat32 || settings.activation != kNone)) {
    fail(name_, ": zero padding (pad_values=0) is defined for float32 outputs without a fused "
         "activation only. Convert the model again with larq-compute-engine 0.16.0.");
  }
  reorder_filter();
  set_transform(inputs, output, settings.activation);
}

void Convolution::check_filter(const Inputs& inputs) {
  const Dims& dims = inputs[1]->dims;
  if (inputs[1]->type != Type::kBits || filter_ == nullptr || dims.size() != 4) {
    fail(name_, ": its filter must be a constant int32 tensor of rank 4.");
  }
  elements(name_, dims);
  filters_ = dims[0];
  rows_.size = dims[1];
  columns_.size = dims[2];
  if (rows_.size > kLargest || columns_.size > kLargest) {
    fail(name_, ": a filter of ", rows_.size, " x ", columns_.size, " is too large.");
  }
  const int words = words_for(channels_in_);
  groups_ = words / dims[3];
  const bool even = groups_ > 0 && words % dims[3] == 0 && filters_ % groups_ == 0 &&
                    channels_in_ % groups_ == 0;
  channels_per_group_ = even ? channels_in_ / groups_ : 0;
  if (!even || words_for(channels_per_group_) != dims[3] ||
      (groups_ > 1 && channels_per_group_ % kWordBits != 0)) {
    fail(name_, ": a filter of ", filters_, " channels and ", dims[3], " words does not fit ",
         channels_in_, " input channels (groups need whole words of 32 channels). The file is "
         "damaged: convert the model again.");
  }
  filters_per_group_ = filters_ / groups_;
  blocks_per_group_ = (filters_per_group_ + kLanes - 1) / kLanes;
  if (signs() > (1 << 28)) fail(name_, ": a receptive field of ", signs(), " signs is too large.");
  // Two units must not write into one word of bits.
  if (type_ == Type::kBits && filters_per_group_ % kUnitChannels != 0) blocks_per_unit_ = blocks();
}

void Convolution::set_transform(const Inputs& inputs, const Tensor& output, int activation) {
  const auto parameter = [&](std::size_t index, const char* what, Type type) {
    const Tensor* tensor = inputs[index].get();
    if (tensor == nullptr || tensor->data == nullptr || tensor->type != type ||
        tensor->dims != Dims{filters_}) {
      fail(name_, ": its ", what, " must be a constant of ", filters_, " values, one for each "
           "output channel. The file is damaged: convert the model again.");
    }
    return tensor->data;
  };
  const std::size_t padded = static_cast<std::size_t>(blocks()) * kLanes;
  multiplier_.assign(padded, 0.0f);
  bias_.assign(padded, 0.0f);
  threshold_.assign(padded, std::numeric_limits<std::int32_t>::max());
  const auto place = [&](int channel) {
    const int group = channel / filters_per_group_;
    return static_cast<std::size_t>(group) * blocks_per_group_ * kLanes +
           static_cast<std::size_t>(channel % filters_per_group_);
  };
  if (type_ == Type::kBits) {  // the converter has put the activation into the thresholds
    const auto* values = static_cast<const std::int32_t*>(parameter(4, "thresholds", Type::kBits));
    for (int c = 0; c < filters_; ++c) threshold_[place(c)] = values[c];
    return;
  }
  const auto* factors = static_cast<const float*>(parameter(2, "multiplier", Type::kFloat32));
  const auto* offsets = static_cast<const float*>(parameter(3, "bias", Type::kFloat32));
  const double scale = type_ == Type::kInt8 ? output.scale : 1.0;
  const double zero_point = type_ == Type::kInt8 ? output.zero_point : 0.0;
  if (!(scale > 0)) fail(name_, ": an int8 output with scale ", scale, ".");
  for (int c = 0; c < filters_; ++c) {
    const double factor = factors[c], offset = offsets[c];
    multiplier_[place(c)] = static_cast<float>(-factor / scale);
    bias_[place(c)] =
        static_cast<float>((offset + static_cast<double>(signs()) * factor) / scale + zero_point);
  }
  const std::int64_t least[] = {std::numeric_limits<std::int32_t>::min(), 0, -1, 0};
  const std::int64_t most[] = {std::numeric_limits<std::int32_t>::max(),
                               std::numeric_limits<std::int32_t>::max(), 1, 6};
  low_ = static_cast<std::int32_t>(
      std::max<std::int64_t>(signs() - most[activation], std::numeric_limits<std::int32_t>::min()));
  high_ = static_cast<std::int32_t>(
      std::min<std::int64_t>(signs() - least[activation], std::numeric_limits<std::int32_t>::max()));
}

void Convolution::reorder_filter() {
  weights_.assign(static_cast<std::size_t>(blocks()) * block_words(), 0);
  std::size_t to = 0;
  for (int block = 0; block < blocks(); ++block) {
    for (int tap = 0; tap < rows_.size * columns_.size; ++tap) {
      for (int word = 0; word < group_words(); ++word, to += kLanes) {
        for (int lane = 0; lane < lanes_of(block); ++lane) {
          weights_[to + lane] = filter_word(channel_of(block) + lane, tap, word);
        }
      }
    }
  }
}

Dims Convolution::prepare(const std::vector<Dims>& inputs) {
  const Dims& input = inputs[0];
  const int words = words_for(channels_in_);
  if (input.size() != 4 || input[3] != words) {
    fail(name_, ": its input has ", input.empty() ? 0 : input.back(), " words of rank ",
         input.size(), "; ", channels_in_, " channels need ", words,
         " of rank 4. The file is damaged: convert the model again.");
  }
  elements(name_, input);
  batch_ = input[0];
  rows_.fit(name_, input[1]);
  columns_.fit(name_, input[2]);
  const Dims output = {batch_, rows_.output, columns_.output,
                       type_ == Type::kBits ? words_for(filters_) : filters_};
  elements(name_, output);
  if (inputs.size() > 1) check_addends(output, inputs[1]);

  const std::int64_t tall = (rows_.output - 1) * std::int64_t{rows_.stride} + rows_.reach();
  const std::int64_t wide = (columns_.output - 1) * std::int64_t{columns_.stride} + columns_.reach();
  padded_.clear();
  padded_rows_ = input[1];
  row_words_ = input[2] * words;
  if (tall > input[1] || wide > input[2]) {
    const int most = std::numeric_limits<int>::max();
    padded_rows_ = static_cast<int>(std::min<std::int64_t>(tall, most));
    const int columns = static_cast<int>(std::min<std::int64_t>(wide, most));
    padded_.assign(static_cast<std::size_t>(elements(name_, {padded_rows_, columns, words})), 0);
    row_words_ = columns * words;
  }
  set_segments();
  if (pad_with_zeros_) zero_padding_.fit(rows_, columns_, tap_sums(), multiplier_);
  return output;
}

void Convolution::set_segments() {
  const int words = words_for(channels_in_);
  // Neighbouring taps of one group lie side by side.
  const bool joined = groups_ == 1 && columns_.dilation == 1;
  segment_words_ = joined ? columns_.size * words : group_words();
  offsets_.clear();
  for (std::ptrdiff_t y = 0; y < rows_.size; ++y) {
    for (std::ptrdiff_t x = 0; x < (joined ? 1 : columns_.size); ++x) {
      offsets_.push_back(y * rows_.dilation * row_words_ + x * columns_.dilation * words);
    }
  }
}

// For each place of `multiplier_` and each tap the sum of the filter's signs.
std::vector<int> Convolution::tap_sums() const {
  const int taps = rows_.size * columns_.size;
  std::vector<int> sums(multiplier_.size() * taps, 0);
  for (int block = 0; block < blocks(); ++block) {
    for (int lane = 0; lane < lanes_of(block); ++lane) {
      for (int tap = 0; tap < taps; ++tap) {
        int set = 0;
        for (int word = 0; word < group_words(); ++word) {
          set += __builtin_popcount(filter_word(channel_of(block) + lane, tap, word));
        }
        sums[(block * kLanes + lane) * taps + tap] = channels_per_group_ - 2 * set;
      }
    }
  }
  return sums;
}

const std::uint32_t* Convolution::padded(const std::uint32_t* image) {
  if (padded_.empty()) return image;
  const std::ptrdiff_t words = words_for(channels_in_);
  const int rows = std::min(rows_.input, padded_rows_ - rows_.before);
  const int columns = std::min<int>(columns_.input, row_words_ / words - columns_.before);
  for (std::ptrdiff_t y = 0; y < rows; ++y) {
    std::memcpy(padded_.data() + (y + rows_.before) * row_words_ + columns_.before * words,
                image + y * columns_.input * words, sizeof(std::uint32_t) * columns * words);
  }
  return padded_.data();
}

void Convolution::run(const std::vector<const void*>& inputs, void* output, ThreadPool& pool) {
  const auto* images = static_cast<const std::uint32_t*>(inputs[0]);
  const auto* addends = inputs.size() > 1 ? static_cast<const float*>(inputs[1]) : nullptr;
  const std::int64_t size_in = std::int64_t{rows_.input} * columns_.input * words_for(channels_in_);
  const std::int64_t size_out = std::int64_t{rows_.output} * columns_.output *
                                (type_ == Type::kBits ? words_for(filters_) : filters_);
  const std::int64_t units =
      std::int64_t{(blocks() + blocks_per_unit_ - 1) / blocks_per_unit_} * rows_.output;
  for (int n = 0; n < batch_; ++n) {
    const Image image = {padded(images + n * size_in),
                         addends == nullptr ? nullptr : addends + n * size_out,
                         static_cast<char*>(output) + n * size_out * (type_ == Type::kInt8 ? 1 : 4)};
    pool.run(units, 1, [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t unit = begin; unit < end; ++unit) run_unit(image, unit);
    });
  }
}

// One row of some blocks of channels. Rows come first, so that the blocks' weights stay in cache.
void Convolution::run_unit(const Image& image, std::int64_t unit) const {
  const int y = static_cast<int>(unit % rows_.output);
  const int first = static_cast<int>(unit / rows_.output) * blocks_per_unit_;
  const int last = std::min(first + blocks_per_unit_, blocks());
  if (type_ == Type::kBits) {
    const int words = words_for(filters_);
    auto* row =
        static_cast<std::uint32_t*>(image.output) + std::int64_t{y} * columns_.output * words;
    const int from = channel_of(first) / kWordBits;
    const int to = (channel_of(last - 1) + lanes_of(last - 1) - 1) / kWordBits;
    for (int x = 0; x < columns_.output; ++x) {
      std::fill(row + x * words + from, row + x * words + to + 1, 0u);
    }
  }
  const std::ptrdiff_t step = std::ptrdiff_t{columns_.stride} * words_for(channels_in_);
  const std::uint32_t* row = image.input + std::ptrdiff_t{y} * rows_.stride * row_words_;
  const int passes = (columns_.output + kernel_.most_pixels - 1) / kernel_.most_pixels;
  for (int block = first; block < last; ++block) {
    const std::uint32_t* input = row + std::ptrdiff_t{block / blocks_per_group_} * group_words();
    for (int pass = 0, x = 0; pass < passes; ++pass) {
      const int pixels = (columns_.output - x + passes - pass - 1) / (passes - pass);
      run_pass({image, input + x * step, block, y, x, pixels});
      x += pixels;
    }
  }
}

void Convolution::run_pass(const Pass& pass) const {
  alignas(64) std::int32_t counts[kMostPixels * kLanes];
  const std::size_t lane = static_cast<std::size_t>(pass.block) * kLanes;
  const Patch patch = {weights_.data() + pass.block * block_words(),
                       pass.input,
                       std::ptrdiff_t{columns_.stride} * words_for(channels_in_),
                       offsets_.data(),
                       static_cast<int>(offsets_.size()),
                       segment_words_};
  const int channel = channel_of(pass.block);
  const std::int64_t pixel = std::int64_t{pass.y} * columns_.output + pass.x;
  const std::int64_t place = pixel * filters_ + channel;
  const float* addend = pass.image.addend == nullptr ? nullptr : pass.image.addend + place;
  if (addend != nullptr) {  // fetched while bits are counted
    for (std::ptrdiff_t p = 0; p < pass.pixels; ++p) __builtin_prefetch(addend + p * filters_);
  }
  kernel_.count[pass.pixels - 1](patch, counts);
  const Transform transform = {low_, high_, &multiplier_[lane], &bias_[lane], &threshold_[lane]};
  if (type_ == Type::kBits) {
    std::uint32_t bits[kMostPixels];
    kernel_.to_bits(counts, pass.pixels, transform, bits);
    auto* to = static_cast<std::uint32_t*>(pass.image.output) + pixel * words_for(filters_);
    for (int p = 0; p < pass.pixels; ++p, to += words_for(filters_)) {
      write_bits(bits[p], to, channel, lanes_of(pass.block));
    }
  } else if (type_ == Type::kInt8) {
    write_int8(counts, pass.pixels, transform, lanes_of(pass.block),
               static_cast<std::int8_t*>(pass.image.output) + place);
  } else {
    write_floats(pass, counts, transform, addend,
                 static_cast<float*>(pass.image.output) + place);
  }
}

// Whole blocks go where they belong at once; of a group's last block only the channels there are.
void Convolution::write_int8(const std::int32_t* counts, int pixels, const Transform& transform,
                             int lanes, std::int8_t* output) const {
  if (lanes == kLanes) {
    kernel_.to_int8(counts, pixels, transform, output, filters_);
    return;
  }
  std::int8_t values[kMostPixels * kLanes];
  kernel_.to_int8(counts, pixels, transform, values, kLanes);
  for (int p = 0; p < pixels; ++p) {
    std::copy_n(values + p * kLanes, lanes, output + std::ptrdiff_t{p} * filters_);
  }
}

void Convolution::write_floats(const Pass& pass, const std::int32_t* counts,
                               const Transform& transform, const float* addend,
                               float* output) const {
  const float* zeros[kMostPixels];
  if (pad_with_zeros_) zero_padding_.find(pass.y, pass.x, pass.pixels, pass.block * kLanes, zeros);
  const float* const* found = pad_with_zeros_ ? zeros : nullptr;
  const int lanes = lanes_of(pass.block);
  if (lanes == kLanes) {
    kernel_.to_float(counts, pass.pixels, transform, {found, addend, bounds_}, output, filters_);
    return;
  }
  float values[kMostPixels * kLanes];
  kernel_.to_float(counts, pass.pixels, transform, {found, nullptr, {}}, values, kLanes);
  for (int p = 0; p < pass.pixels; ++p) {
    for (int l = 0; l < lanes; ++l) {
      const float value = values[p * kLanes + l];
      const std::ptrdiff_t place = std::ptrdiff_t{p} * filters_ + l;
      output[place] = addend == nullptr ? value : bounds_.clamp(value + addend[place]);
    }
  }
}

void Convolution::write_bits(std::uint32_t bits, std::uint32_t* pixel, int channel,
                             int lanes) const {
  const int shift = channel % kWordBits;
  const std::uint64_t placed = std::uint64_t{bits & ((1u << lanes) - 1)} << shift;
  pixel[channel / kWordBits] |= static_cast<std::uint32_t>(placed);
  if (placed >> kWordBits != 0) {
    pixel[channel / kWordBits + 1] |= static_cast<std::uint32_t>(placed >> kWordBits);
  }
}

}  // namespace

std::unique_ptr<Op> make_convolution(const Kernel& kernel, const Options& options,
                                     const Inputs& inputs, const Tensor& output) {
  const bool is_old = inputs.size() == 4 ||
                      (!inputs.empty() && inputs[0] && inputs[0]->type == Type::kFloat32);
  if (is_old) {
    fail("LceBconv2d: it has ", inputs.size(), " inputs, or float32 first, as in an old Larq Compute "
         "Engine. Convert the model again with larq-compute-engine 0.16.0.");
  }
  if (inputs.size() != 5 || !inputs[0] || !inputs[1] || inputs[0]->type != Type::kBits ||
      output.type == Type::kBool) {
    fail("LceBconv2d: it takes five inputs, int32 first, and gives float32, int8 or int32. The "
         "model is damaged: convert it again with larq-compute-engine 0.16.0.");
  }
  return std::make_unique<Convolution>(kernel, read(options), inputs, output);
}

}  // namespace siman
