// The steps of running a partition: each an op, built from what is planned.
#ifndef SIMAN_STEPS_H_
#define SIMAN_STEPS_H_

#include <memory>
#include <vector>

#include "plan.h"

namespace siman {

struct Step {
  std::unique_ptr<Op> op;
  int node = 0;                // its number in the model
  std::vector<int> inputs;     // tensors that are no constants
  Dims dims_in;                // of the first of them, once prepared
  std::size_t rank = 0;        // that it must have; 0 if the op itself looks
  int output = 0;
  Type type = Type::kFloat32;  // of the output
  Dims dims;                   // of the output, once prepared
  int buffer = -1;             // of the partition, for the output; -1 if the runtime has one

  // While running, to spare allocations.
  std::vector<const void*> data;
};

// Throws Error, with the cause, for what is unknown or damaged.
std::vector<Step> built(TfLiteContext* context, const Plan& plan, const Kernel& kernel);

}  // namespace siman

#endif  // SIMAN_STEPS_H_
