#include "output_transform.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "error.h"

namespace siman {
namespace {

using Limits = std::numeric_limits<std::int32_t>;

template <class Value>
const Value* parameter(const std::string& op, const Tensor* tensor, const char* what, Type type,
                       int channels) {
  if (tensor == nullptr || tensor->data == nullptr || tensor->type != type ||
      tensor->dims != Dims{channels}) {
    fail(op, ": its ", what, " must be a constant of ", channels, " values, one for each "
         "output channel. The file is damaged: convert the model again.");
  }
  return static_cast<const Value*>(tensor->data);
}

}  // namespace

OutputTransform::OutputTransform(const std::string& op, const Inputs& inputs, const Tensor& output,
                                 const PackedFilter& filter, int activation)
    : is_bounded_(activation != kNone) {
  const int channels = filter.channels_out();
  if (output.type == Type::kBits) {  // the converter has put the activation into the thresholds
    thresholds_ =
        parameter<std::int32_t>(op, inputs[4].get(), "thresholds", Type::kBits, channels);
    return;
  }
  multipliers_ = parameter<float>(op, inputs[2].get(), "multiplier", Type::kFloat32, channels);
  biases_ = parameter<float>(op, inputs[3].get(), "bias", Type::kFloat32, channels);
  if (output.type == Type::kInt8) {
    scale_ = output.scale;
    zero_point_ = output.zero_point;
    if (!(scale_ > 0)) fail(op, ": an int8 output with scale ", scale_, ".");
  }
  const std::int64_t least[] = {Limits::min(), 0, -1, 0};
  const std::int64_t most[] = {Limits::max(), Limits::max(), 1, 6};
  low_ = static_cast<std::int32_t>(
      std::max<std::int64_t>(filter.signs() - most[activation], Limits::min()));
  high_ = static_cast<std::int32_t>(
      std::min<std::int64_t>(filter.signs() - least[activation], Limits::max()));
}

void OutputTransform::build(const PackedFilter& filter) {
  const auto lanes = static_cast<std::size_t>(filter.lanes());
  multiplier_.assign(lanes, 0.0f);
  bias_.assign(lanes, 0.0f);
  threshold_.assign(lanes, Limits::max());
  for (int c = 0; c < filter.channels_out(); ++c) {
    const auto lane = static_cast<std::size_t>(filter.lane_of(c));
    if (thresholds_ != nullptr) {
      threshold_[lane] = thresholds_[c];
      continue;
    }
    const double factor = multipliers_[c], offset = biases_[c];
    multiplier_[lane] = static_cast<float>(-factor / scale_);
    bias_[lane] = static_cast<float>(
        (offset + static_cast<double>(filter.signs()) * factor) / scale_ + zero_point_);
  }
  // Doubling changes no digit of a product, unless it overflows.
  const auto overflows = [](float value) { return !std::isfinite(2.0f * value); };
  if (std::any_of(multiplier_.begin(), multiplier_.end(), overflows)) is_bounded_ = true;
  if (!is_bounded_) {
    for (float& value : multiplier_) value *= 2.0f;
  }
}

std::vector<float> OutputTransform::multiplier() const {
  std::vector<float> result = multiplier_;
  if (!is_bounded_) {
    for (float& value : result) value *= 0.5f;
  }
  return result;
}

}  // namespace siman
