#include "steps.h"

#include "error.h"

namespace siman {
namespace {

std::unique_ptr<Op> make_lce_op(TfLiteContext* context, const Node& node, const Tensor& output,
                                const Kernel& kernel) {
  const Inputs inputs = inputs_of(context, node);
  if (node.op == "LceQuantize") return make_quantize(kernel, inputs, output);
  if (node.op == "LceDequantize") return make_dequantize(kernel, inputs, output);
  if (node.op != "LceBconv2d" && node.op != "LceBMaxPool2d") {
    fail("Op ", node.op, " of Larq Compute Engine is unknown; known are LceQuantize, LceDequantize, "
         "LceBconv2d and LceBMaxPool2d. Update siman-runtime.");
  }
  const Options options(node.op, node.options, node.options_size);
  if (node.op == "LceBconv2d") return make_convolution(kernel, options, inputs, output);
  return make_max_pool(kernel, options, inputs, output);
}

struct MakeFloatOp {
  std::unique_ptr<Op> operator()(const Stage& stage) const { return make_elementwise(kernel, stage); }
  std::unique_ptr<Op> operator()(const Mean& mean) const { return make_mean(kernel, mean); }
  std::unique_ptr<Op> operator()(const FloatMaxPool& p) const { return make_float_max_pool(kernel, p); }
  std::unique_ptr<Op> operator()(const Slice& slice) const { return make_slice(kernel, slice); }
  std::unique_ptr<Op> operator()(const Pad& pad) const { return make_pad(kernel, pad); }

  const Kernel& kernel;
};

Step built(TfLiteContext* context, const PlannedStep& planned, const Kernel& kernel) {
  const Node& node = planned.node;
  const Tensor output = output_at(context, planned.output, node.op);
  Step step;
  step.op = planned.op ? std::visit(MakeFloatOp{kernel}, *planned.op)
                       : make_lce_op(context, node, output, kernel);
  for (const Stage& stage : planned.behind) step.op->append(stage);
  step.node = node.index;
  step.inputs = planned.inputs;
  step.rank = planned.rank;
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
