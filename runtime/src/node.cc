#include "node.h"

#include <iterator>
#include <limits>
#include <memory>

#include "error.h"
#include "tensors.h"

namespace siman {
namespace {

// Of the runtime's own ops those that may be taken, and only with their parameters.
std::string name_of(const TfLiteRegistration& registration, const TfLiteNode& node) {
  if (registration.custom_name != nullptr) return registration.custom_name;
  const bool is_add = registration.builtin_code == kTfLiteBuiltinAdd && node.builtin_data != nullptr;
  return is_add ? "ADD" : "";
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

std::optional<Bounds> bounds_of(const Node& add) {
  // None, relu, relu clipped to -1 and 1, relu clipped to 6.
  constexpr float kInfinity = std::numeric_limits<float>::infinity();
  constexpr Bounds kBounds[] = {{-kInfinity, kInfinity}, {0, kInfinity}, {-1, 1}, {0, 6}};
  const int activation = static_cast<const TfLiteAddParams*>(add.params)->activation;
  if (activation < 0 || activation >= static_cast<int>(std::size(kBounds))) return std::nullopt;
  return kBounds[activation];
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

Tensor output_of(TfLiteContext* context, const Node& node) {
  if (node.outputs.size() != 1) fail(node.op, ": ", node.outputs.size(), " outputs; it has one.");
  const TfLiteTensor& made = tensor_at(context, node.outputs[0], node.op);
  if (made.allocation_type == kTfLiteMmapRo) {  // its memory is the file's
    fail(node.op, ": its output is a constant. The file is damaged: convert the model again.");
  }
  return described(made, node.op);
}

}  // namespace siman
