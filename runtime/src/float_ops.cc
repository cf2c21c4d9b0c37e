#include "float_ops.h"

#include <algorithm>
#include <iterator>
#include <limits>

#include "tensors.h"

namespace siman {
namespace {

constexpr int kLargest = 1 << 15;  // of windows, strides and padding

template <class Params>
const Params& params_of(const Node& node) {
  return *static_cast<const Params*>(node.params);
}

// A tensor of a node, if it is there.
const TfLiteTensor* tensor_of(TfLiteContext* context, const std::vector<int>& tensors,
                              std::size_t place) {
  const int index = place < tensors.size() ? tensors[place] : -1;
  const bool exists = index >= 0 && static_cast<std::size_t>(index) < context->tensors_size;
  return exists ? &context->tensors[index] : nullptr;
}

// Dimensions of a float32 tensor that counts samples along its first axis, and is no constant.
std::optional<Dims> dims_of_values(TfLiteContext* context, const std::vector<int>& tensors,
                                   std::size_t place) {
  const TfLiteTensor* tensor = tensor_of(context, tensors, place);
  if (tensor == nullptr || tensor->type != kTfLiteFloat32 || is_constant(*tensor)) return {};
  const Dims dims = values_of(tensor->dims);
  const bool are_sizes = std::all_of(dims.begin(), dims.end(), [](int size) { return size > 0; });
  if (dims.size() < 2 || dims.size() > 6 || !are_sizes) return {};
  return dims;
}

// A constant of float32 or int32, if it is whole and lies where such values may.
std::optional<Tensor> constant_of(TfLiteContext* context, const Node& node, std::size_t place,
                                  TfLiteType type) {
  const TfLiteTensor* raw = tensor_of(context, node.inputs, place);
  if (raw == nullptr || raw->type != type || !is_constant(*raw) || !is_whole(*raw)) return {};
  return described(*raw, node.op);
}

std::optional<std::vector<int>> integers_of(TfLiteContext* context, const Node& node,
                                            std::size_t place, const Dims& dims) {
  const std::optional<Tensor> constant = constant_of(context, node, place, kTfLiteInt32);
  if (!constant || constant->dims != dims) return {};
  const auto* values = static_cast<const int*>(constant->data);
  return std::vector<int>(values, values + elements(node.op, dims));
}

constexpr float kInfinity = std::numeric_limits<float>::infinity();
enum { kNone, kRelu, kReluN1To1, kRelu6 };  // activations
constexpr Bounds kBounds[] = {{-kInfinity, kInfinity}, {0, kInfinity}, {-1, 1}, {0, 6}};

std::optional<Bounds> bounds_of(int activation) {
  if (activation < 0 || activation >= static_cast<int>(std::size(kBounds))) return {};
  return kBounds[activation];
}

// What the values of `input` meet, if it is one of those that `Stage` has.
bool set_other(TfLiteContext* context, const Node& node, std::size_t place, const Dims& input,
               Stage& stage) {
  using Other = Stage::Other;
  if (const auto values = constant_of(context, node, place, kTfLiteFloat32)) {
    const std::int64_t count = elements(node.op, values->dims);
    const bool is_by_channel = !values->dims.empty() && values->dims.back() == count;
    if (values->dims.size() > input.size() || (count != 1 && !is_by_channel) ||
        (count != 1 && count != input.back())) {
      return false;
    }
    stage.other = count == 1 ? Other::kOfAll : Other::kOfChannel;
    stage.constants = static_cast<const float*>(values->data);
    stage.channels = static_cast<int>(count);
    return true;
  }
  const std::optional<Dims> other = dims_of_values(context, node.inputs, place);
  Dims of_sample(input.size(), 1);
  of_sample[0] = input[0];
  if (!other || (*other != input && *other != of_sample)) return false;
  stage.other = *other == input ? Other::kTensor : Other::kOfSample;
  return true;
}

// ADD, SUB and MUL, whose values are those of the larger input.
std::optional<FloatOp> binary(TfLiteContext* context, const Node& node, const Dims& output,
                              Stage::Kind kind, int activation) {
  const std::optional<Bounds> bounds = bounds_of(activation);
  const std::optional<Dims> first = dims_of_values(context, node.inputs, 0);
  Stage stage;
  stage.kind = kind;
  stage.main = first && *first == output ? 0 : 1;
  if (stage.main == 1 && kind == Stage::Kind::kSubtract) stage.kind = Stage::Kind::kSubtractFrom;
  const std::size_t main = static_cast<std::size_t>(stage.main);
  const std::optional<Dims> input = dims_of_values(context, node.inputs, main);
  if (node.inputs.size() != 2 || !bounds || input != output ||
      !set_other(context, node, 1 - main, *input, stage)) {
    return {};
  }
  stage.bounds = *bounds;
  return stage;
}

std::optional<FloatOp> prelu(TfLiteContext* context, const Node& node, const Dims& input) {
  Stage stage;
  stage.kind = Stage::Kind::kPrelu;
  if (node.inputs.size() != 2 || !set_other(context, node, 1, input, stage)) return {};
  if (stage.reads_tensor()) return {};
  return stage;
}

std::optional<FloatOp> mean(TfLiteContext* context, const Node& node, const Dims& input) {
  const int rank = static_cast<int>(input.size());
  const TfLiteTensor* raw = tensor_of(context, node.inputs, 1);
  if (node.inputs.size() != 2 || raw == nullptr || values_of(raw->dims).size() != 1) return {};
  auto axes = integers_of(context, node, 1, values_of(raw->dims));
  if (!axes) return {};
  for (int& axis : *axes) axis += axis < 0 ? rank : 0;
  std::sort(axes->begin(), axes->end());
  if (axes->empty() || axes->front() < 1 || axes->back() >= rank) return {};
  Mean mean;
  mean.first = axes->front();
  mean.end = mean.first + static_cast<int>(axes->size());
  mean.keeps_axes = params_of<TfLiteReducerParams>(node).keep_dims;
  for (std::size_t i = 0; i < axes->size(); ++i) {
    if ((*axes)[i] != mean.first + static_cast<int>(i)) return {};
  }
  if (mean.dims_of(input).size() < 2) return {};
  return mean;
}

std::optional<FloatOp> max_pool(const Node& node, const Dims& input) {
  const auto& params = params_of<TfLitePoolParams>(node);
  const std::optional<Bounds> bounds = bounds_of(params.activation);
  for (const int size : {params.filter_width, params.filter_height, params.stride_width,
                         params.stride_height}) {
    if (size < 1 || size > kLargest) return {};
  }
  const bool is_same = params.padding == kTfLitePaddingSame;
  if (node.inputs.size() != 1 || input.size() != 4 || !bounds ||
      (!is_same && params.padding != kTfLitePaddingValid)) {
    return {};
  }
  FloatMaxPool pool;
  pool.rows.size = params.filter_height;
  pool.columns.size = params.filter_width;
  pool.rows.stride = params.stride_height;
  pool.columns.stride = params.stride_width;
  pool.rows.same = pool.columns.same = is_same;
  pool.rows.may_be_larger = pool.columns.may_be_larger = true;  // as in XNNPACK
  pool.bounds = *bounds;
  // XNNPACK takes none that leave values out, and of a larger window the runtime then gives nothing.
  const bool leaves_out = params.stride_height > params.filter_height ||
                          params.stride_width > params.filter_width;
  if (!is_same && leaves_out && params.filter_height * params.filter_width > 1) return {};
  return pool;
}

// Of samples and of channels all, and forwards.
std::optional<FloatOp> slice(TfLiteContext* context, const Node& node, const Dims& input) {
  const auto& params = params_of<TfLiteStridedSliceParams>(node);
  const int rank = static_cast<int>(input.size());
  const auto begin = integers_of(context, node, 1, {rank});
  const auto end = integers_of(context, node, 2, {rank});
  const auto step = integers_of(context, node, 3, {rank});
  if (node.inputs.size() != 4 || rank > 4 || !begin || !end || !step || params.ellipsis_mask != 0 ||
      params.new_axis_mask != 0 || params.shrink_axis_mask != 0 || params.offset) {
    return {};
  }
  Slice slice;
  for (int axis = 0; axis < rank; ++axis) {
    const int bit = 1 << axis;
    Slice::Range range;
    if ((params.begin_mask & bit) == 0) range.begin = (*begin)[axis];
    if ((params.end_mask & bit) == 0) range.end = (*end)[axis];
    range.step = (*step)[axis];
    const bool is_whole = range.begin == 0 && range.step == 1 && (params.end_mask & bit) != 0;
    if (range.begin < 0 || range.end < 0 || range.step < 1 || range.step > kLargest) return {};
    if ((axis == 0 || axis == rank - 1) && !is_whole) return {};
    slice.ranges.push_back(range);
  }
  if (slice.dims_of(input).empty()) return {};
  return slice;
}

std::optional<FloatOp> pad(TfLiteContext* context, const Node& node, const Dims& input) {
  const int rank = static_cast<int>(input.size());
  const auto sizes = integers_of(context, node, 1, {rank, 2});
  if (node.inputs.size() != 2 || rank > 4 || !sizes || (*sizes)[0] != 0 || (*sizes)[1] != 0) {
    return {};
  }
  Pad pad;
  for (int axis = 0; axis < rank; ++axis) {
    const int before = (*sizes)[2 * axis], behind = (*sizes)[2 * axis + 1];
    if (before < 0 || before > kLargest || behind < 0 || behind > kLargest) return {};
    pad.before.push_back(before);
    pad.behind.push_back(behind);
  }
  return pad;
}

std::optional<FloatOp> relu(const Node& node, const Bounds& bounds) {
  if (node.inputs.size() != 1) return {};
  Stage stage;
  stage.bounds = bounds;
  return stage;
}

}  // namespace

std::optional<FloatOp> float_op(TfLiteContext* context, const Node& node) {
  using Kind = Stage::Kind;
  const std::string& op = node.op;
  const auto output = dims_of_values(context, node.outputs, 0);
  if (node.outputs.size() != 1 || !output) return {};
  if (op == "ADD") {
    return binary(context, node, *output, Kind::kAdd, params_of<TfLiteAddParams>(node).activation);
  }
  if (op == "SUB") {
    return binary(context, node, *output, Kind::kSubtract,
                  params_of<TfLiteSubParams>(node).activation);
  }
  if (op == "MUL") {
    return binary(context, node, *output, Kind::kMultiply,
                  params_of<TfLiteMulParams>(node).activation);
  }
  const auto input = dims_of_values(context, node.inputs, 0);
  if (!input) return {};
  if (op == "RELU") return relu(node, kBounds[kRelu]);
  if (op == "RELU_N1_TO_1") return relu(node, kBounds[kReluN1To1]);
  if (op == "RELU6") return relu(node, kBounds[kRelu6]);
  if (op == "PRELU") return prelu(context, node, *input);
  if (op == "MEAN") return mean(context, node, *input);
  if (op == "MAX_POOL_2D") return max_pool(node, *input);
  if (op == "STRIDED_SLICE") return slice(context, node, *input);
  if (op == "PAD") return pad(context, node, *input);
  return {};
}

}  // namespace siman
