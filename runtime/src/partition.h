// Ops of one model, as the runtime hands them over: made, checked, prepared and run in order.
#ifndef SIMAN_PARTITION_H_
#define SIMAN_PARTITION_H_

#include <map>
#include <memory>
#include <vector>

#include "memory_budget.h"
#include "steps.h"

namespace siman {

class Partition {
 public:
  Partition(TfLiteContext* context, const TfLiteDelegateParams& params, const Kernel& kernel,
            std::shared_ptr<ThreadPool> pool, std::shared_ptr<MemoryBudget> budget);

  // Fits all to the inputs' dimensions and tells the runtime the outputs'. Throws Error.
  void prepare(TfLiteContext* context);
  void invoke(TfLiteContext* context);

 private:
  struct alignas(64) Line {  // of a cache
    char bytes[64];
  };
  static std::size_t lines_for(std::int64_t bytes) {
    return (static_cast<std::size_t>(bytes) + sizeof(Line) - 1) / sizeof(Line);
  }

  bool is_output(int index) const;
  void build(TfLiteContext* context, bool are_fused);
  void fit_to_inputs(TfLiteContext* context);
  void fit(const std::map<int, Dims>& inputs);
  bool runs_sample_by_sample();
  void place_outputs();
  void take_memory();
  char* memory_of_output(TfLiteContext* context, const Step& step) const;
  void run(Step& step, void* output);

  const Kernel& kernel_;
  const Plan plan_;  // of each node by itself
  const std::vector<int> outputs_;
  std::vector<Step> steps_;
  bool are_fused_ = true;  // and else as planned
  std::vector<std::size_t> buffer_lines_;
  std::vector<std::unique_ptr<Line[]>> buffers_;  // of outputs that the runtime does not know
  std::unique_ptr<Line[]> scratch_;               // of the steps, by turns
  std::map<int, Dims> inputs_;
  std::int64_t samples_ = 1;  // that run one after the other
  std::shared_ptr<ThreadPool> pool_;
  MemoryShare memory_;
};

}  // namespace siman

#endif  // SIMAN_PARTITION_H_
