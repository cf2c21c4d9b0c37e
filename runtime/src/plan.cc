#include "plan.h"

#include <algorithm>
#include <set>
#include <utility>

#include "error.h"
#include "tensors.h"

namespace siman {
namespace {

bool contains(const std::vector<int>& values, int value) {
  return std::find(values.begin(), values.end(), value) != values.end();
}

// Whether a sum may be done where its output is written.
bool can_add(TfLiteContext* context, const Node& node) {
  return node.op == "LceBconv2d" && node.outputs.size() == 1 &&
         tensor_at(context, node.outputs[0], node.op).type == kTfLiteFloat32;
}

// Whether an ADD is one that `Add` computes: float32, of equal dimensions and of no constant.
bool is_plain(TfLiteContext* context, const Node& add) {
  if (add.inputs.size() != 2 || !bounds_of(add)) return false;
  const TfLiteTensor& one = tensor_at(context, add.inputs[0], add.op);
  const TfLiteTensor& other = tensor_at(context, add.inputs[1], add.op);
  const auto fits = [](const TfLiteTensor& tensor) {
    return tensor.type == kTfLiteFloat32 && tensor.allocation_type != kTfLiteMmapRo;
  };
  return fits(one) && fits(other) && values_of(one.dims) == values_of(other.dims);
}

// Whatever is wrong with it is told when it is built.
PlannedStep planned(const Node& node) {
  PlannedStep step;
  step.node = node;
  const std::size_t count = std::min<std::size_t>(node.is_add() ? 2 : 1, node.inputs.size());
  step.inputs.assign(node.inputs.begin(), node.inputs.begin() + count);
  if (!node.outputs.empty()) step.output = node.outputs[0];
  return step;
}

// The step before `add` that may do its sum, or null: the later of those that make its inputs, if
// nothing else reads what it gives.
PlannedStep* step_that_adds(TfLiteContext* context, Plan& before, const PlannedStep& add,
                            const std::vector<int>& kept, const std::vector<int>& read) {
  const auto made = std::find_if(before.rbegin(), before.rend(), [&](const PlannedStep& step) {
    return contains(add.inputs, step.output);
  });
  if (made == before.rend() || !made->behind.empty() || !can_add(context, made->node) ||
      contains(kept, made->output) || std::count(read.begin(), read.end(), made->output) != 1) {
    return nullptr;
  }
  return &*made;
}

}  // namespace

std::vector<int> nodes_to_take(TfLiteContext* context) {
  TfLiteIntArray* order = nullptr;
  if (context->GetExecutionPlan(context, &order) != kTfLiteOk) fail("the model has no plan.");
  std::vector<int> nodes;
  std::set<int> convolved;  // outputs of binary convolutions
  for (const int index : values_of(order)) {  // copied: the next call may overwrite it
    const Node node = node_at(context, index);
    if (node.is_of_lce()) {
      if (can_add(context, node)) convolved.insert(node.outputs[0]);
      nodes.push_back(index);
    } else if (node.is_add() && is_plain(context, node)) {
      if (convolved.count(node.inputs[0]) + convolved.count(node.inputs[1]) != 0) {
        nodes.push_back(index);
      }
    }
  }
  return nodes;
}

Plan plan_of(TfLiteContext* context, const std::vector<int>& nodes, const std::vector<int>& kept) {
  Plan all, plan;
  std::vector<int> read;
  for (const int index : nodes) {
    all.push_back(planned(node_at(context, index)));
    read.insert(read.end(), all.back().inputs.begin(), all.back().inputs.end());
  }
  for (PlannedStep& step : all) {
    PlannedStep* adding =
        step.node.is_add() ? step_that_adds(context, plan, step, kept, read) : nullptr;
    if (adding == nullptr) {
      plan.push_back(std::move(step));
      continue;
    }
    adding->inputs.push_back(step.inputs[step.inputs[0] == adding->output ? 1 : 0]);
    adding->output = step.output;
    adding->behind.push_back(step.node);
  }
  return plan;
}

}  // namespace siman
