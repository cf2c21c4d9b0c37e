// Which steps of a plan are done as one, so that what one gives and the next reads is never stored.
#ifndef SIMAN_FUSION_H_
#define SIMAN_FUSION_H_

#include <vector>

#include "plan.h"

namespace siman {

// Whether a sum may be done where the output of a node is written.
bool can_add(TfLiteContext* context, const Node& node);
bool is_sum_of_tensors(const Stage& stage);

// The same with fewer steps; `kept` are tensors that others read.
// - A sum of tensors, and what then only has bounds, are done by the convolution before them.
// - Float ops on each value by itself are done in one pass.
// - LceQuantize compares with what is subtracted from all values of a sample.
// - A slice of bits that are made floats before it and bits again behind it is one of bits.
Plan fused(TfLiteContext* context, const Plan& plan, const std::vector<int>& kept);

}  // namespace siman

#endif  // SIMAN_FUSION_H_
