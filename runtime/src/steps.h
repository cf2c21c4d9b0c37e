// The ops of a model that are taken over, and each as a step of running it.
#ifndef SIMAN_STEPS_H_
#define SIMAN_STEPS_H_

#include <memory>
#include <vector>

#include "ops.h"
#include "tflite_abi.h"

namespace siman {

struct Step {
  std::unique_ptr<Op> op;
  int node = 0;                // its number in the model
  std::vector<int> inputs;     // tensors that are no constants
  Dims dims_in;                // of the first of them, once prepared
  int output = 0;
  Bounds bounds;               // of a sum
  Type type = Type::kFloat32;  // of the output
  Dims dims;                   // of the output, once prepared
  int buffer = -1;             // of the partition, for the output; -1 if the runtime has one

  // While running, to spare allocations.
  std::vector<const void*> data;
};

// The nodes of a model to take: all ops of Larq Compute Engine, and each ADD behind a binary
// convolution. Throws Error, with the cause, for what is unknown or damaged.
std::vector<int> nodes_to_take(TfLiteContext* context, const Kernel& kernel);

// The steps of nodes, in their order; `kept` are tensors that others read. An ADD is made part of
// the convolution before it where nothing else reads what that gives. Throws Error as above.
std::vector<Step> make_steps(TfLiteContext* context, const std::vector<int>& nodes,
                             const std::vector<int>& kept, const Kernel& kernel);

}  // namespace siman

#endif  // SIMAN_STEPS_H_
