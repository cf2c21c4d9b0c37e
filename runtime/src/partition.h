// Ops of one model, as the runtime hands them over: made, checked, prepared and run in order.
#ifndef SIMAN_PARTITION_H_
#define SIMAN_PARTITION_H_

#include <map>
#include <memory>
#include <vector>

#include "steps.h"

namespace siman {

class Partition {
 public:
  Partition(TfLiteContext* context, const TfLiteDelegateParams& params, const Kernel& kernel,
            std::shared_ptr<ThreadPool> pool);

  // Fits all to the inputs' dimensions and tells the runtime the outputs'. Throws Error.
  void prepare(TfLiteContext* context);
  void invoke(TfLiteContext* context);

 private:
  struct alignas(64) Line {  // of a cache
    char bytes[64];
  };

  bool is_output(int index) const;
  void place_outputs(TfLiteContext* context);
  void run(Step& step, void* output);

  std::vector<Step> steps_;
  std::vector<std::vector<Line>> buffers_;  // of outputs that the runtime does not know
  std::vector<int> outputs_;
  std::map<int, Dims> inputs_;
  std::shared_ptr<ThreadPool> pool_;
};

}  // namespace siman

#endif  // SIMAN_PARTITION_H_
