#include "steps.h"

#include "error.h"

namespace siman {
namespace {

std::unique_ptr<Op> make_op(const Node& node, const Kernel& kernel, const Inputs& inputs,
                            const Tensor& output) {
  if (node.op == "LceQuantize") return make_quantize(kernel, inputs, output);
  if (node.op == "LceDequantize") return make_dequantize(kernel, inputs, output);
  if (node.is_add()) return make_add(kernel, inputs, output);
  if (node.op != "LceBconv2d" && node.op != "LceBMaxPool2d") {
    fail("Op ", node.op, " of Larq Compute Engine is unknown; known are LceQuantize, LceDequantize, "
         "LceBconv2d and LceBMaxPool2d. Update siman-runtime.");
  }
  const Options options(node.op, node.options, node.options_size);
  if (node.op == "LceBconv2d") return make_convolution(kernel, options, inputs, output);
  return make_max_pool(kernel, options, inputs, output);
}

Step built(TfLiteContext* context, const PlannedStep& planned, const Kernel& kernel) {
  const Node& node = planned.node;
  const Inputs inputs = inputs_of(context, node);
  const Tensor output = output_of(context, node);
  Step step;
  step.op = make_op(node, kernel, inputs, output);
  if (node.is_add()) step.op->keep_within(*bounds_of(node));
  for (const Node& add : planned.behind) {
    output_of(context, add);
    step.op->keep_within(*bounds_of(add));
  }
  step.node = node.index;
  step.inputs = planned.inputs;
  step.output = planned.output;
  step.type = output.type;
  return step;
}

}  // namespace

std::vector<Step> built(TfLiteContext* context, const Plan& plan, const Kernel& kernel) {
  std::vector<Step> steps;
  for (const PlannedStep& planned : plan) steps.push_back(built(context, planned, kernel));
  return steps;
}

}  // namespace siman
