#include "steps.h"

#include <algorithm>
#include <cstring>
#include <iterator>
#include <limits>
#include <set>
#include <string>
#include <utility>

#include "error.h"
#include "tensors.h"

namespace siman {
namespace {

struct Node {
  const TfLiteNode* node;
  const TfLiteRegistration* registration;

  bool is_of_lce() const {
    const char* name = registration->custom_name;
    return name != nullptr && std::strncmp(name, "Lce", 3) == 0;
  }
  bool is_add() const {
    return registration->custom_name == nullptr &&
           registration->builtin_code == kTfLiteBuiltinAdd && node->builtin_data != nullptr;
  }
  int activation_of_add() const {
    return static_cast<const TfLiteAddParams*>(node->builtin_data)->activation;
  }
};

Node node_at(TfLiteContext* context, int index) {
  TfLiteNode* node = nullptr;
  TfLiteRegistration* registration = nullptr;
  if (context->GetNodeAndRegistration(context, index, &node, &registration) != kTfLiteOk) {
    fail("node ", index, " of the model cannot be read. The file is damaged.");
  }
  return {node, registration};
}

std::unique_ptr<Op> make_op(const std::string& name, const TfLiteNode& node, const Kernel& kernel,
                            const Inputs& inputs, const Tensor& output) {
  if (name == "LceQuantize") return make_quantize(kernel, inputs, output);
  if (name == "LceDequantize") return make_dequantize(kernel, inputs, output);
  if (name != "LceBconv2d" && name != "LceBMaxPool2d") {
    fail("Op ", name, " of Larq Compute Engine is unknown; known are LceQuantize, LceDequantize, "
         "LceBconv2d and LceBMaxPool2d. Update siman-runtime.");
  }
  const std::size_t size =
      node.custom_initial_data_size < 0 ? 0 : static_cast<std::size_t>(node.custom_initial_data_size);
  const Options options(name, node.custom_initial_data, size);
  if (name == "LceBconv2d") return make_convolution(kernel, options, inputs, output);
  return make_max_pool(kernel, options, inputs, output);
}

// By fused activation: none, relu, relu clipped to -1 and 1, relu clipped to 6.
constexpr float kInfinity = std::numeric_limits<float>::infinity();
constexpr Bounds kBounds[] = {{-kInfinity, kInfinity}, {0, kInfinity}, {-1, 1}, {0, 6}};

Step make_step(TfLiteContext* context, int index, const Kernel& kernel) {
  const Node found = node_at(context, index);
  const bool is_add = found.is_add();
  const std::string name = is_add ? "ADD" : found.registration->custom_name;
  const std::vector<int> indices = values_of(found.node->inputs);
  const std::vector<int> outputs = values_of(found.node->outputs);
  if (outputs.size() != 1) fail(name, ": ", outputs.size(), " outputs; it has one.");
  Inputs inputs;
  for (const int input : indices) {
    inputs.push_back(input == kTfLiteOptionalTensor
                         ? nullptr
                         : std::make_unique<Tensor>(
                               described(tensor_at(context, input, name), name)));
  }
  const TfLiteTensor& made = tensor_at(context, outputs[0], name);
  if (made.allocation_type == kTfLiteMmapRo) {  // its memory is the file's
    fail(name, ": its output is a constant. The file is damaged: convert the model again.");
  }
  const Tensor output = described(made, name);
  Step step;
  if (is_add) {
    step.op = make_add(kernel, inputs, output);
    step.bounds = kBounds[found.activation_of_add()];
    step.op->keep_within(step.bounds);
  } else {
    step.op = make_op(name, *found.node, kernel, inputs, output);
  }
  step.node = index;
  step.inputs.assign(indices.begin(), indices.begin() + (is_add ? 2 : 1));
  step.output = outputs[0];
  step.type = output.type;
  return step;
}

// Whether an ADD is one that `Add` computes: float32, of equal dimensions and of no constant.
bool is_plain(TfLiteContext* context, const Node& node) {
  const std::vector<int> inputs = values_of(node.node->inputs);
  const int activation = node.activation_of_add();
  if (inputs.size() != 2 || activation < 0 || activation >= static_cast<int>(std::size(kBounds))) {
    return false;
  }
  const TfLiteTensor& one = tensor_at(context, inputs[0], "ADD");
  const TfLiteTensor& other = tensor_at(context, inputs[1], "ADD");
  const auto fits = [](const TfLiteTensor& tensor) {
    return tensor.type == kTfLiteFloat32 && tensor.allocation_type != kTfLiteMmapRo;
  };
  return fits(one) && fits(other) && values_of(one.dims) == values_of(other.dims);
}

bool contains(const std::vector<int>& values, int value) {
  return std::find(values.begin(), values.end(), value) != values.end();
}

// The step before `add` that may do its sum, or null: the later of those that make its inputs, if
// nothing else reads what it gives.
Step* step_that_adds(std::vector<Step>& before, const Step& add, const std::vector<int>& kept,
                     const std::vector<int>& read) {
  const auto made = std::find_if(before.rbegin(), before.rend(), [&](const Step& step) {
    return contains(add.inputs, step.output);
  });
  if (made == before.rend() || !made->op->can_add() || made->inputs.size() != 1 ||
      contains(kept, made->output) || std::count(read.begin(), read.end(), made->output) != 1) {
    return nullptr;
  }
  return &*made;
}

}  // namespace

std::vector<int> nodes_to_take(TfLiteContext* context, const Kernel& kernel) {
  TfLiteIntArray* plan = nullptr;
  if (context->GetExecutionPlan(context, &plan) != kTfLiteOk) fail("the model has no plan.");
  std::vector<int> nodes;
  std::set<int> convolved;  // outputs of binary convolutions
  for (const int index : values_of(plan)) {  // copied: the next call may overwrite the plan
    const Node found = node_at(context, index);
    if (found.is_of_lce()) {
      const Step step = make_step(context, index, kernel);  // raises now, with the cause, or never
      if (step.op->can_add()) convolved.insert(step.output);
      nodes.push_back(index);
    } else if (found.is_add() && is_plain(context, found)) {
      const std::vector<int> inputs = values_of(found.node->inputs);
      if (convolved.count(inputs[0]) + convolved.count(inputs[1]) != 0) nodes.push_back(index);
    }
  }
  return nodes;
}

std::vector<Step> make_steps(TfLiteContext* context, const std::vector<int>& nodes,
                             const std::vector<int>& kept, const Kernel& kernel) {
  std::vector<Step> made, steps;
  std::vector<int> read;
  for (const int index : nodes) {
    made.push_back(make_step(context, index, kernel));
    read.insert(read.end(), made.back().inputs.begin(), made.back().inputs.end());
  }
  for (Step& step : made) {
    Step* adding = step.inputs.size() == 2 ? step_that_adds(steps, step, kept, read) : nullptr;
    if (adding == nullptr) {
      steps.push_back(std::move(step));
      continue;
    }
    adding->inputs.push_back(step.inputs[step.inputs[0] == adding->output ? 1 : 0]);
    adding->output = step.output;
    adding->op->keep_within(step.bounds);
  }
  return steps;
}

}  // namespace siman
