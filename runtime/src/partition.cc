#include "partition.h"

#include <algorithm>
#include <chrono>
#include <string>
#include <utility>

#include "error.h"
#include "profile.h"
#include "tensors.h"

namespace siman {
namespace {

std::unique_ptr<Op> make(const std::string& name, const TfLiteNode& node, const Kernel& kernel,
                         const Inputs& inputs, const Tensor& output) {
  if (name == "LceQuantize") return make_quantize(kernel, inputs, output);
  if (name == "LceDequantize") return make_dequantize(kernel, inputs, output);
  const std::size_t size =
      node.custom_initial_data_size < 0 ? 0 : static_cast<std::size_t>(node.custom_initial_data_size);
  const Options options(name, node.custom_initial_data, size);
  if (name == "LceBconv2d") return make_convolution(kernel, options, inputs, output);
  return make_max_pool(kernel, options, inputs, output);
}

std::string text_of(const Dims& dims) {
  std::string text;
  for (const int size : dims) text += (text.empty() ? "" : "x") + std::to_string(size);
  return text;
}

Type type_of(const TfLiteTensor& tensor) {
  return tensor.type == kTfLiteInt8 || tensor.type == kTfLiteBool ? Type::kInt8 : Type::kFloat32;
}

void resize(TfLiteContext* context, const Step& step) {
  TfLiteTensor& tensor = tensor_at(context, step.output, step.op->name());
  if (values_of(tensor.dims) == step.dims && tensor.data != nullptr) return;
  IntArray size(step.dims);
  if (context->ResizeTensor(context, &tensor, size.release()) != kTfLiteOk) {
    fail(step.op->name(), ": its output cannot be made ", text_of(step.dims), ".");
  }
}

}  // namespace

Step make_step(TfLiteContext* context, int index, const Kernel& kernel) {
  TfLiteNode* node = nullptr;
  TfLiteRegistration* registration = nullptr;
  if (context->GetNodeAndRegistration(context, index, &node, &registration) != kTfLiteOk) {
    fail("node ", index, " of the model cannot be read. The file is damaged.");
  }
  const std::string name = registration->custom_name;
  if (name != "LceQuantize" && name != "LceDequantize" && name != "LceBconv2d" &&
      name != "LceBMaxPool2d") {
    fail("Op ", name, " of Larq Compute Engine is unknown; known are LceQuantize, LceDequantize, "
         "LceBconv2d and LceBMaxPool2d. Update siman-runtime.");
  }
  const std::vector<int> outputs = values_of(node->outputs);
  if (outputs.size() != 1) fail(name, ": ", outputs.size(), " outputs; it has one.");
  Inputs inputs;
  for (const int input : values_of(node->inputs)) {
    inputs.push_back(input == kTfLiteOptionalTensor
                         ? nullptr
                         : std::make_unique<Tensor>(
                               described(tensor_at(context, input, name), name)));
  }
  const Tensor output = described(tensor_at(context, outputs[0], name), name);
  Step step;
  step.op = make(name, *node, kernel, inputs, output);
  step.input = node->inputs->data[0];
  step.output = outputs[0];
  step.type = output.type;
  return step;
}

Partition::Partition(TfLiteContext* context, const TfLiteDelegateParams& params,
                     const Kernel& kernel, std::shared_ptr<ThreadPool> pool)
    : outputs_(values_of(params.output_tensors)), pool_(std::move(pool)) {
  for (const int index : values_of(params.nodes_to_replace)) {
    steps_.push_back(make_step(context, index, kernel));
  }
}

void Partition::prepare(TfLiteContext* context) {
  std::map<int, Dims> made;
  inputs_.clear();
  for (Step& step : steps_) {
    const auto found = made.find(step.input);
    Dims input;
    if (found != made.end()) {
      input = found->second;
    } else {
      input = values_of(tensor_at(context, step.input, step.op->name()).dims);
      inputs_[step.input] = input;
    }
    step.dims = step.op->prepare(input);
    if (made.count(step.output) != 0) fail(step.op->name(), ": two ops write one tensor.");
    made[step.output] = step.dims;
    const std::int64_t bytes = elements(step.op->name(), step.dims) * size_of(step.type);
    step.buffer.clear();
    if (is_output(step.output)) {
      resize(context, step);
    } else {
      step.buffer.resize(static_cast<std::size_t>(bytes));
    }
  }
}

void Partition::invoke(TfLiteContext* context) {
  std::map<int, void*> data;
  for (const auto& [index, dims] : inputs_) {
    const TfLiteTensor& tensor = tensor_at(context, index, "LCE ops");
    const std::size_t bytes = elements("LCE ops", dims) * size_of(type_of(tensor));
    if (tensor.data == nullptr || tensor.bytes != bytes || values_of(tensor.dims) != dims) {
      fail("LCE ops: tensor ", index, " changed its shape between preparing and running. Set "
           "input sizes before allocate_tensors().");
    }
    data[index] = tensor.data;
  }
  for (Step& step : steps_) {
    void* output = step.buffer.data();
    if (step.buffer.empty()) {
      const TfLiteTensor& tensor = tensor_at(context, step.output, step.op->name());
      if (tensor.data == nullptr ||
          tensor.bytes != static_cast<std::size_t>(elements(step.op->name(), step.dims)) *
                              size_of(step.type)) {
        fail(step.op->name(), ": the runtime gave no memory for its output.");
      }
      output = tensor.data;
    }
    run(step, data.at(step.input), output);
    data[step.output] = output;
  }
}

bool Partition::is_output(int index) const {
  return std::find(outputs_.begin(), outputs_.end(), index) != outputs_.end();
}

void Partition::run(Step& step, const void* input, void* output) {
  if (!Profile::instance().is_on()) {
    step.op->run(input, output, *pool_);
    return;
  }
  const auto start = std::chrono::steady_clock::now();
  step.op->run(input, output, *pool_);
  const auto spent = std::chrono::steady_clock::now() - start;
  Profile::instance().add(
      std::to_string(step.output) + "\t" + step.op->name() + "\t" + text_of(step.dims),
      std::chrono::duration_cast<std::chrono::nanoseconds>(spent).count());
}

}  // namespace siman
