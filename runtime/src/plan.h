// Which nodes of a model are taken over, and which of them are done in one step: data alone, from
// which steps are then built.
#ifndef SIMAN_PLAN_H_
#define SIMAN_PLAN_H_

#include <vector>

#include "node.h"
#include "tflite_abi.h"

namespace siman {

struct PlannedStep {
  Node node;
  std::vector<Node> behind;  // done where it writes its values: an ADD
  std::vector<int> inputs;   // tensors that are no constants
  int output = -1;
};

using Plan = std::vector<PlannedStep>;

// All ops of Larq Compute Engine, known or not, and each ADD behind a binary convolution.
std::vector<int> nodes_to_take(TfLiteContext* context);

// The steps of nodes, in their order; `kept` are tensors that others read. An ADD is made part of
// the convolution before it where nothing else reads what that gives.
Plan plan_of(TfLiteContext* context, const std::vector<int>& nodes, const std::vector<int>& kept);

}  // namespace siman

#endif  // SIMAN_PLAN_H_
