// LceBconv2d: a convolution of signs by signs.
#include <algorithm>

#include "convolution_plan.h"
#include "error.h"
#include "ops.h"
#include "output_transform.h"
#include "packed_filter.h"
#include "zero_padding.h"

namespace siman {
namespace {

constexpr int kLargest = 1 << 15;  // of strides and dilations

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
  Memory memory() const override;
  void build() override;
  void run(const std::vector<const void*>& inputs, void* output,
           const Workspace& workspace) override;
  void append(const Stage& stage) override { bounds_ = stage.bounds; }
  bool may_replace(std::size_t input) const override { return input == 1; }

 private:
  struct Image;
  struct Pass;

  int values_out() const {  // of one position
    return type_ == Type::kBits ? words_for(filter_.channels_out()) : filter_.channels_out();
  }
  void run_unit(const Image& image, std::int64_t unit) const;
  void run_pass(const Pass& pass) const;
  void write_int8(const Pass& pass, std::int8_t* output) const;
  void write_floats(const Pass& pass, const float* addend, float* output) const;
  void write_bits(std::uint32_t bits, std::uint32_t* pixel, int channel) const;

  Window rows_;  // as the file has them
  Window columns_;
  const bool pad_with_zeros_;
  const Type type_;
  PackedFilter filter_;
  OutputTransform transform_;
  int blocks_per_unit_;

  Bounds bounds_;  // of outputs, or of their sums with a second input

  ConvolutionPlan plan_;  // by `prepare`

  // By `build`.
  std::vector<std::ptrdiff_t> offsets_;
  ZeroPadding zero_padding_;
};

struct Convolution::Image {
  const std::uint32_t* input;  // or its padded copy
  const float* addend;         // or null
  void* output;
};

// Neighbouring positions of a block of channels. Along a row only the last three and `patch.input`
// change.
struct Convolution::Pass {
  const Image& image;
  Patch patch;
  const Transform transform;
  const int block;
  const int channel;  // the block's first
  const int lanes;    // that have a channel
  int y;
  int x;
  int pixels;
};

Convolution::Convolution(const Kernel& kernel, const Settings& settings, const Inputs& inputs,
                         const Tensor& output)
    : Op("LceBconv2d", kernel),
      rows_(settings.rows),
      columns_(settings.columns),
      pad_with_zeros_(settings.pad_with_zeros),
      type_(output.type),
      filter_(name_, inputs[1].get(), settings.channels_in, kernel),
      transform_(name_, inputs, output, filter_, settings.activation),
      blocks_per_unit_(kWordBits / filter_.kernel().lanes) {
  rows_.size = filter_.rows();
  columns_.size = filter_.columns();
  if (pad_with_zeros_ && (type_ != Type::kFloat32 || settings.activation != kNone)) {
    fail(name_, ": zero padding (pad_values=0) is defined for float32 outputs without a fused "
         "activation only. Convert the model again with larq-compute-engine 0.16.0.");
  }
  // Two units must not write into one word of bits.
  if (type_ == Type::kBits && !filter_.has_whole_words_out()) blocks_per_unit_ = filter_.blocks();
}

Dims Convolution::prepare(const std::vector<Dims>& inputs) {
  plan_ = ConvolutionPlan(name_, rows_, columns_, filter_, inputs[0]);
  const Dims output = {plan_.batch(), plan_.rows().output, plan_.columns().output, values_out()};
  elements(name_, output);
  if (inputs.size() > 1) check_alike("ADD", output, inputs[1]);
  return output;
}

Memory Convolution::memory() const {
  const std::int64_t padding =
      pad_with_zeros_ ? ZeroPadding::bytes(plan_.rows(), plan_.columns(), filter_) : 0;
  const auto offsets = static_cast<std::int64_t>(plan_.segments() * sizeof(offsets_[0]));
  return {filter_.packed_bytes() + OutputTransform::bytes(filter_) + padding + offsets,
          plan_.padded_words() * std::int64_t{sizeof(std::uint32_t)}};
}

void Convolution::build() {
  filter_.pack();
  transform_.build(filter_);
  offsets_ = plan_.offsets();
  if (pad_with_zeros_) {
    zero_padding_.build(plan_.rows(), plan_.columns(), filter_, transform_.multiplier());
  }
}

void Convolution::run(const std::vector<const void*>& inputs, void* output,
                      const Workspace& workspace) {
  const auto* images = static_cast<const std::uint32_t*>(inputs[0]);
  const auto* addends = inputs.size() > 1 ? static_cast<const float*>(inputs[1]) : nullptr;
  auto* padded = plan_.padded_words() > 0 ? static_cast<std::uint32_t*>(workspace.scratch) : nullptr;
  const std::int64_t size_out =
      std::int64_t{plan_.rows().output} * plan_.columns().output * values_out();
  const std::int64_t rounds = (filter_.blocks() + blocks_per_unit_ - 1) / blocks_per_unit_;
  for (int n = 0; n < plan_.batch(); ++n) {
    const std::uint32_t* input = images + n * plan_.image_words();
    if (padded != nullptr) plan_.pad(input, padded);
    const Image image = {padded != nullptr ? padded : input,
                         addends == nullptr ? nullptr : addends + n * size_out,
                         static_cast<char*>(output) + n * size_out * (type_ == Type::kInt8 ? 1 : 4)};
    workspace.pool.run(rounds * plan_.rows().output, 1, [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t unit = begin; unit < end; ++unit) run_unit(image, unit);
    });
  }
}

// One row of some blocks of channels. Rows come first, so that the blocks' weights stay in cache.
void Convolution::run_unit(const Image& image, std::int64_t unit) const {
  const int y = static_cast<int>(unit % plan_.rows().output);
  const int first = static_cast<int>(unit / plan_.rows().output) * blocks_per_unit_;
  const int last = std::min(first + blocks_per_unit_, filter_.blocks());
  const int width = plan_.columns().output;
  if (type_ == Type::kBits) {
    const int words = values_out();
    auto* row = static_cast<std::uint32_t*>(image.output) + std::int64_t{y} * width * words;
    const int from = filter_.channel_of(first) / kWordBits;
    const int to = (filter_.channel_of(last - 1) + filter_.lanes_of(last - 1) - 1) / kWordBits;
    for (int x = 0; x < width; ++x) {
      std::fill(row + x * words + from, row + x * words + to + 1, 0u);
    }
  }
  const int most = filter_.kernel().most_pixels;
  const int passes = (width + most - 1) / most;
  for (int block = first; block < last; ++block) {
    const std::ptrdiff_t group = std::ptrdiff_t{filter_.group_of(block)} * filter_.group_words();
    const Patch patch = {filter_.weights(block), nullptr, plan_.column_step(), offsets_.data(),
                         static_cast<int>(offsets_.size()), plan_.segment_words()};
    Pass pass = {image, patch, transform_.of(std::size_t{1} * block * filter_.kernel().lanes),
                 block, filter_.channel_of(block), filter_.lanes_of(block), y, 0, 0};
    for (int left = passes; left > 0; --left, pass.x += pass.pixels) {
      pass.pixels = (width - pass.x + left - 1) / left;
      pass.patch.input = image.input + plan_.start(y, pass.x) + group;
      run_pass(pass);
    }
  }
}

void Convolution::run_pass(const Pass& pass) const {
  const std::ptrdiff_t channels = filter_.channels_out();
  const std::int64_t pixel = std::int64_t{pass.y} * plan_.columns().output + pass.x;
  const std::int64_t place = pixel * channels + pass.channel;
  const float* addend = pass.image.addend == nullptr ? nullptr : pass.image.addend + place;
  if (addend != nullptr) {  // fetched while bits are counted
    for (std::ptrdiff_t p = 0; p < pass.pixels; ++p) __builtin_prefetch(addend + p * channels);
  }
  if (type_ == Type::kBits) {
    std::uint32_t bits[kMostPixels];
    filter_.kernel().to_bits[pass.pixels - 1](pass.patch, pass.transform, bits);
    auto* to = static_cast<std::uint32_t*>(pass.image.output) + pixel * values_out();
    for (int p = 0; p < pass.pixels; ++p, to += values_out()) {
      write_bits(bits[p], to, pass.channel);
    }
  } else if (type_ == Type::kInt8) {
    write_int8(pass, static_cast<std::int8_t*>(pass.image.output) + place);
  } else {
    write_floats(pass, addend, static_cast<float*>(pass.image.output) + place);
  }
}

// Whole blocks go where they belong at once; of a group's last block only the channels there are.
void Convolution::write_int8(const Pass& pass, std::int8_t* output) const {
  const auto to_int8 = filter_.kernel().to_int8[pass.pixels - 1];
  const int all = filter_.kernel().lanes, lanes = pass.lanes;
  const std::ptrdiff_t channels = filter_.channels_out();
  if (lanes == all) {
    to_int8(pass.patch, pass.transform, output, channels);
    return;
  }
  std::int8_t values[kMostPixels * kMostLanes];
  to_int8(pass.patch, pass.transform, values, all);
  for (int p = 0; p < pass.pixels; ++p) {
    std::copy_n(values + p * all, lanes, output + p * channels);
  }
}

void Convolution::write_floats(const Pass& pass, const float* addend, float* output) const {
  const auto to_float = filter_.kernel().to_float[pass.pixels - 1];
  const int all = filter_.kernel().lanes, lanes = pass.lanes;
  const std::ptrdiff_t channels = filter_.channels_out();
  const float* zeros[kMostPixels];
  if (pad_with_zeros_) {
    const std::int64_t lane = std::int64_t{pass.block} * all;
    zero_padding_.find(pass.y, pass.x, pass.pixels, lane, zeros);
  }
  const float* const* found = pad_with_zeros_ ? zeros : nullptr;
  if (lanes == all) {
    to_float(pass.patch, pass.transform, {found, addend, bounds_}, output, channels);
    return;
  }
  float values[kMostPixels * kMostLanes];
  to_float(pass.patch, pass.transform, {found, nullptr, {}}, values, all);
  for (int p = 0; p < pass.pixels; ++p) {
    for (int l = 0; l < lanes; ++l) {
      const float value = values[p * all + l];
      const std::ptrdiff_t place = p * channels + l;
      output[place] = bounds_.clamp(addend == nullptr ? value : value + addend[place]);
    }
  }
}

// Bits of lanes without a channel are clear, by their threshold.
void Convolution::write_bits(std::uint32_t bits, std::uint32_t* pixel, int channel) const {
  const int shift = channel % kWordBits;
  const std::uint64_t placed = std::uint64_t{bits} << shift;
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
