// A node of a model as the runtime has it, with its tensors as the model declares them.
#ifndef SIMAN_NODE_H_
#define SIMAN_NODE_H_

#include <cstddef>
#include <string>
#include <vector>

#include "ops.h"
#include "tflite_abi.h"

namespace siman {

struct Node {
  int index = 0;            // in the model
  std::string op;           // its name, also of the runtime's own; empty of those never taken
  std::vector<int> inputs;  // tensors
  std::vector<int> outputs;
  const void* params = nullptr;   // of one of the runtime's own
  const void* options = nullptr;  // of a custom op
  std::size_t options_size = 0;

  bool is_of_lce() const { return op.compare(0, 3, "Lce") == 0; }
};

// Throws Error if there is none.
Node node_at(TfLiteContext* context, int index);

// The tensors of an op, checked: an absent input is null, and the output is no constant. Both throw
// Error.
Inputs inputs_of(TfLiteContext* context, const Node& node);
Tensor output_at(TfLiteContext* context, int index, const std::string& op);

}  // namespace siman

#endif  // SIMAN_NODE_H_
