// Ops of one model, as the runtime hands them over: made, checked, prepared and run in order.
#ifndef SIMAN_PARTITION_H_
#define SIMAN_PARTITION_H_

#include <map>
#include <memory>
#include <vector>

#include "ops.h"
#include "tflite_abi.h"

namespace siman {

struct Step {
  std::unique_ptr<Op> op;
  int input = 0;
  int output = 0;
  Type type = Type::kFloat32;  // of the output
  Dims dims;                   // of the output, once prepared
  std::vector<char> buffer;    // of the output, where the runtime gives none
};

// The op of a node; throws Error, with the cause, for what is unknown or damaged.
Step make_step(TfLiteContext* context, int index, const Kernel& kernel);

class Partition {
 public:
  Partition(TfLiteContext* context, const TfLiteDelegateParams& params, const Kernel& kernel,
            std::shared_ptr<ThreadPool> pool);

  // Fits all to the inputs' dimensions and tells the runtime the outputs'. Throws Error.
  void prepare(TfLiteContext* context);
  void invoke(TfLiteContext* context);

 private:
  bool is_output(int index) const;
  void run(Step& step, const void* input, void* output);

  std::vector<Step> steps_;
  std::vector<int> outputs_;
  std::map<int, Dims> inputs_;
  std::shared_ptr<ThreadPool> pool_;
};

}  // namespace siman

#endif  // SIMAN_PARTITION_H_
