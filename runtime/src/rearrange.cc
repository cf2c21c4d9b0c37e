// STRIDED_SLICE and PAD: values, or words of bits, at other places.
#include <algorithm>
#include <cstring>

#include "error.h"
#include "float_ops.h"

namespace siman {

Dims Slice::dims_of(const Dims& input) const {
  Dims output;
  for (std::size_t axis = 0; axis < ranges.size(); ++axis) {
    const Range& range = ranges[axis];
    const int end = std::min(range.end, input[axis]);
    if (end <= range.begin) return {};
    output.push_back((end - range.begin - 1) / range.step + 1);
  }
  return output;
}

namespace {

// Up to four axes, the first of which counts samples.
constexpr std::size_t kAxes = 4;

struct Axis {
  int size = 1;              // of what is copied
  std::int64_t from = 1;     // values from one to the next, and to
  std::int64_t to = 1;
};

void copy(const Axis* axes, const std::uint32_t* from, std::uint32_t* to) {
  const Axis& last = axes[kAxes - 1];
  for (int n = 0; n < axes[0].size; ++n) {
    for (int y = 0; y < axes[1].size; ++y) {
      for (int x = 0; x < axes[2].size; ++x) {
        std::memcpy(to + n * axes[0].to + y * axes[1].to + x * axes[2].to,
                    from + n * axes[0].from + y * axes[1].from + x * axes[2].from,
                    static_cast<std::size_t>(last.size) * sizeof(*to));
      }
    }
  }
}

// The strides of dimensions, as those of the last of kAxes axes.
void set_strides(const Dims& dims, std::int64_t Axis::*stride, Axis* axes) {
  std::int64_t values = 1;
  for (std::size_t i = dims.size(); i-- > 0; values *= dims[i]) {
    axes[kAxes - dims.size() + i].*stride = values;
  }
}

// Axes of what is copied, of which the sizes are still to be told.
void set_axes(const Dims& input, const Dims& output, Axis* axes) {
  std::fill_n(axes, kAxes, Axis{});
  set_strides(input, &Axis::from, axes);
  set_strides(output, &Axis::to, axes);
}

class SliceOp final : public Op {
 public:
  SliceOp(const Kernel& kernel, const Slice& slice) : Op("STRIDED_SLICE", kernel), slice_(slice) {}

  Dims prepare(const std::vector<Dims>& inputs) override {
    const Dims& input = inputs[0];
    elements(name_, input);
    const Dims output = slice_.dims_of(input);
    if (output.empty()) fail(name_, ": nothing is left of its input. Give the model larger inputs.");
    set_axes(input, output, axes_);
    first_ = 0;
    for (std::size_t i = 0; i < output.size(); ++i) {
      Axis& axis = axes_[kAxes - output.size() + i];
      first_ += slice_.ranges[i].begin * axis.from;
      axis.size = output[i];
      axis.from *= slice_.ranges[i].step;
    }
    return output;
  }

  void run(const std::vector<const void*>& inputs, void* output, const Workspace&) override {
    copy(axes_, static_cast<const std::uint32_t*>(inputs[0]) + first_,
         static_cast<std::uint32_t*>(output));
  }

 private:
  const Slice slice_;
  Axis axes_[kAxes];
  std::int64_t first_ = 0;
};

class PadOp final : public Op {
 public:
  PadOp(const Kernel& kernel, const Pad& pad) : Op("PAD", kernel), pad_(pad) {}

  Dims prepare(const std::vector<Dims>& inputs) override {
    const Dims& input = inputs[0];
    Dims output = input;
    elements(name_, input);  // of so many, sizes do not overflow
    for (std::size_t i = 0; i < input.size(); ++i) output[i] += pad_.before[i] + pad_.behind[i];
    size_ = elements(name_, output);
    set_axes(input, output, axes_);
    first_ = 0;
    for (std::size_t i = 0; i < input.size(); ++i) {
      Axis& axis = axes_[kAxes - input.size() + i];
      axis.size = input[i];
      first_ += pad_.before[i] * axis.to;
    }
    return output;
  }

  void run(const std::vector<const void*>& inputs, void* output, const Workspace&) override {
    auto* to = static_cast<std::uint32_t*>(output);
    std::fill_n(to, size_, 0u);
    copy(axes_, static_cast<const std::uint32_t*>(inputs[0]), to + first_);
  }

 private:
  const Pad pad_;
  Axis axes_[kAxes];
  std::int64_t first_ = 0;
  std::int64_t size_ = 0;
};

}  // namespace

std::unique_ptr<Op> make_slice(const Kernel& kernel, const Slice& slice) {
  return std::make_unique<SliceOp>(kernel, slice);
}

std::unique_ptr<Op> make_pad(const Kernel& kernel, const Pad& pad) {
  return std::make_unique<PadOp>(kernel, pad);
}

}  // namespace siman
