#include "plan.h"

#include <cstdlib>
#include <set>
#include <string>

#include "error.h"
#include "fusion.h"
#include "tensors.h"

namespace siman {
namespace {

// Whatever else is wrong with it is told when it is built.
PlannedStep planned(TfLiteContext* context, const Node& node) {
  if (node.outputs.size() != 1) fail(node.op, ": ", node.outputs.size(), " outputs; it has one.");
  PlannedStep step;
  step.node = node;
  step.output = node.outputs[0];
  if (!node.is_of_lce()) step.op = float_op(context, node);
  const auto* stage = step.op ? std::get_if<Stage>(&*step.op) : nullptr;
  const std::size_t main = stage == nullptr ? 0 : static_cast<std::size_t>(stage->main);
  if (!node.inputs.empty()) step.inputs = {node.inputs[main]};
  if (stage != nullptr && stage->reads_tensor()) step.inputs.push_back(node.inputs[1 - main]);
  if (step.op) step.rank = values_of(tensor_at(context, step.inputs[0], node.op).dims).size();
  return step;
}

std::vector<Node> all_nodes(TfLiteContext* context) {
  TfLiteIntArray* order = nullptr;
  if (context->GetExecutionPlan(context, &order) != kTfLiteOk) fail("the model has no plan.");
  std::vector<Node> nodes;
  // Copied: the next call may overwrite it.
  for (const int index : values_of(order)) nodes.push_back(node_at(context, index));
  return nodes;
}

bool is_any_of(const std::vector<int>& tensors, const std::set<int>& some) {
  for (const int tensor : tensors) {
    if (some.count(tensor) != 0) return true;
  }
  return false;
}

}  // namespace

bool takes_blocks() {
  const char* wanted = std::getenv("SIMAN_FUSE");
  const std::string text = wanted == nullptr ? "" : wanted;
  if (text == "0") return false;
  if (text.empty() || text == "1") return true;
  fail("SIMAN_FUSE=", text, ": 1, as without it, takes whole blocks, and 0 their binary ops alone.");
}

std::vector<int> nodes_to_take(TfLiteContext* context, bool with_blocks) {
  const std::vector<Node> nodes = all_nodes(context);
  std::vector<bool> is_taken(nodes.size());
  std::set<int> convolved;  // outputs of binary convolutions that a sum may be done in
  for (std::size_t i = 0; i < nodes.size(); ++i) {
    const Node& node = nodes[i];
    is_taken[i] = node.is_of_lce();
    if (can_add(context, node)) convolved.insert(node.outputs[0]);
    if (!is_any_of(node.inputs, convolved)) continue;
    const std::optional<FloatOp> op = float_op(context, node);
    const auto* stage = op ? std::get_if<Stage>(&*op) : nullptr;
    is_taken[i] = is_taken[i] || (stage != nullptr && is_sum_of_tensors(*stage));
  }
  std::set<int> read;  // by what is taken
  for (std::size_t i = nodes.size(); i-- > 0;) {
    const Node& node = nodes[i];
    if (with_blocks && is_any_of(node.outputs, read) && float_op(context, node)) is_taken[i] = true;
    if (is_taken[i]) read.insert(node.inputs.begin(), node.inputs.end());
  }
  std::vector<int> taken;
  for (std::size_t i = 0; i < nodes.size(); ++i) {
    if (is_taken[i]) taken.push_back(nodes[i].index);
  }
  return taken;
}

Plan plan_of(TfLiteContext* context, const std::vector<int>& nodes) {
  Plan plan;
  for (const int index : nodes) plan.push_back(planned(context, node_at(context, index)));
  return plan;
}

}  // namespace siman
