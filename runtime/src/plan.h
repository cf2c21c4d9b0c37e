// Which nodes of a model are taken over, and which of them are done in one step: data alone, from
// which steps are then built.
#ifndef SIMAN_PLAN_H_
#define SIMAN_PLAN_H_

#include <optional>
#include <vector>

#include "float_ops.h"
#include "node.h"
#include "tflite_abi.h"

namespace siman {

struct PlannedStep {
  Node node;
  std::optional<FloatOp> op;  // that is none of Larq Compute Engine
  std::vector<Stage> behind;  // done where it writes its values
  std::vector<int> inputs;    // tensors that are no constants; those of stages come last
  int output = -1;
  std::size_t rank = 0;       // of the first input, as declared, if `op` depends on it
};

using Plan = std::vector<PlannedStep>;

// What the environment variable SIMAN_FUSE says: whether the float ops between binary ones are taken
// too. Throws Error for what it does not know.
bool takes_blocks();

// All ops of Larq Compute Engine, known or not, each ADD behind a binary convolution, and of whole
// blocks all float ops from which another op that is taken reads.
std::vector<int> nodes_to_take(TfLiteContext* context, bool with_blocks);

// The steps of nodes, each by itself, in their order. Throws Error.
Plan plan_of(TfLiteContext* context, const std::vector<int>& nodes);

}  // namespace siman

#endif  // SIMAN_PLAN_H_
