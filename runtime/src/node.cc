#include "node.h"

#include <memory>

#include "error.h"
#include "tensors.h"

namespace siman {
namespace {

// Of the runtime's own ops those that may be taken, and those with parameters only where they are.
std::string name_of(const TfLiteRegistration& registration, const TfLiteNode& node) {
  if (registration.custom_name != nullptr) {
    // Somebody's own op may have the name of a built-in one, and has not its parameters.
    const std::string name = registration.custom_name;
    return name.compare(0, 3, "Lce") == 0 ? name : "";
  }
  switch (registration.builtin_code) {
    case kTfLiteBuiltinRelu: return "RELU";
    case kTfLiteBuiltinReluN1To1: return "RELU_N1_TO_1";
    case kTfLiteBuiltinRelu6: return "RELU6";
    case kTfLiteBuiltinPrelu: return "PRELU";
    case kTfLiteBuiltinPad: return "PAD";
  }
  if (node.builtin_data == nullptr) return "";
  switch (registration.builtin_code) {
    case kTfLiteBuiltinAdd: return "ADD";
    case kTfLiteBuiltinSub: return "SUB";
    case kTfLiteBuiltinMul: return "MUL";
    case kTfLiteBuiltinMean: return "MEAN";
    case kTfLiteBuiltinMaxPool2d: return "MAX_POOL_2D";
    case kTfLiteBuiltinStridedSlice: return "STRIDED_SLICE";
  }
  return "";
}

}  // namespace

Node node_at(TfLiteContext* context, int index) {
  TfLiteNode* raw = nullptr;
  TfLiteRegistration* registration = nullptr;
  if (context->GetNodeAndRegistration(context, index, &raw, &registration) != kTfLiteOk) {
    fail("node ", index, " of the model cannot be read. The file is damaged.");
  }
  Node node;
  node.index = index;
  node.op = name_of(*registration, *raw);
  node.inputs = values_of(raw->inputs);
  node.outputs = values_of(raw->outputs);
  node.params = raw->builtin_data;
  node.options = raw->custom_initial_data;
  const int size = raw->custom_initial_data_size;
  node.options_size = size < 0 ? 0 : static_cast<std::size_t>(size);
  return node;
}

Inputs inputs_of(TfLiteContext* context, const Node& node) {
  Inputs inputs;
  for (const int index : node.inputs) {
    inputs.push_back(nullptr);
    if (index == kTfLiteOptionalTensor) continue;
    inputs.back() =
        std::make_unique<Tensor>(described(tensor_at(context, index, node.op), node.op));
  }
  return inputs;
}

Tensor output_at(TfLiteContext* context, int index, const std::string& op) {
  const TfLiteTensor& made = tensor_at(context, index, op);
  if (is_constant(made)) {
    fail(op, ": its output is a constant. The file is damaged: convert the model again.");
  }
  return described(made, op);
}

}  // namespace siman
