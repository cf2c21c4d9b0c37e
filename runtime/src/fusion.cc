#include "fusion.h"

#include <algorithm>
#include <map>

#include "tensors.h"

namespace siman {
namespace {

using Kind = Stage::Kind;
using Other = Stage::Other;

bool contains(const std::vector<int>& values, int value) {
  return std::find(values.begin(), values.end(), value) != values.end();
}

bool is_unbounded(const Stage& stage) {
  return !(stage.bounds.low > Bounds{}.low) && !(stage.bounds.high < Bounds{}.high);
}

template <class Kind>
const Kind* as(const PlannedStep& step) {
  return step.op ? std::get_if<Kind>(&*step.op) : nullptr;
}

class Fusion {
 public:
  Fusion(TfLiteContext* context, const Plan& all, const std::vector<int>& kept)
      : context_(context), kept_(kept) {
    for (const PlannedStep& step : all) {
      for (const int tensor : step.inputs) ++readers_[tensor];
    }
    for (const PlannedStep& step : all) {
      if (!is_done_before(step)) plan_.push_back(step);
    }
  }

  const Plan& plan() const { return plan_; }

 private:
  // The last step of those that make a step's inputs, so that the others are there by then; or none,
  // or one whose output is also of use to others.
  Plan::iterator maker(const PlannedStep& step) {
    const auto made = std::find_if(plan_.rbegin(), plan_.rend(), [&](const PlannedStep& before) {
      return contains(step.inputs, before.output);
    });
    if (made == plan_.rend() || contains(kept_, made->output) || readers_[made->output] != 1) {
      return plan_.end();
    }
    return std::prev(made.base());
  }

  bool is_done_before(const PlannedStep& step) {
    const auto before = maker(step);
    if (before == plan_.end()) return false;
    if (const auto* stage = as<Stage>(step)) {
      if (!may_append(*before, *stage, step)) return false;
      append(*before, *stage, step);
      return true;
    }
    if (step.node.op != "LceQuantize") return false;
    return is_done_by_comparing(before, step) || is_done_by_slicing(before, step);
  }

  bool may_append(const PlannedStep& before, const Stage& stage, const PlannedStep& step) const {
    if (as<Stage>(before) != nullptr) return before.output == step.inputs[0];
    if (!can_add(context_, before.node)) return false;
    if (is_sum_of_tensors(stage)) return before.behind.empty();
    return stage.kind == Kind::kKeep && std::all_of(before.behind.begin(), before.behind.end(),
                                                    is_unbounded);
  }

  void append(PlannedStep& before, const Stage& stage, const PlannedStep& step) {
    if (stage.reads_tensor()) {
      before.inputs.push_back(step.inputs[step.inputs[0] == before.output ? 1 : 0]);
    }
    before.behind.push_back(stage);
    before.output = step.output;
  }

  // x - m < 0 is x < m, but for differences below 1e-38, which XNNPACK takes for 0.
  bool is_done_by_comparing(Plan::iterator before, const PlannedStep& step) {
    const auto* stage = as<Stage>(*before);
    if (stage == nullptr || stage->kind != Kind::kSubtract || stage->other != Other::kOfSample ||
        !is_unbounded(*stage) || !before->behind.empty()) {
      return false;
    }
    PlannedStep comparing = step;
    comparing.inputs = before->inputs;
    plan_.erase(before);
    plan_.push_back(comparing);
    return true;
  }

  bool is_done_by_slicing(Plan::iterator before, const PlannedStep& step) {
    if (as<Slice>(*before) == nullptr) return false;
    const int floats = before->inputs[0];
    const auto opened = std::find_if(plan_.begin(), before, [&](const PlannedStep& candidate) {
      return candidate.output == floats && candidate.node.op == "LceDequantize";
    });
    if (opened == before || !are_whole_words(*opened) || !are_bits(step.output)) return false;
    before->inputs = opened->inputs;
    before->output = step.output;
    ++readers_[opened->inputs[0]];
    if (--readers_[floats] == 0 && !contains(kept_, floats)) {
      --readers_[opened->inputs[0]];
      plan_.erase(opened);
    }
    return true;
  }

  // Whether the words of bits have all bits of the floats that they become, and no others.
  bool are_whole_words(const PlannedStep& opened) const {
    const std::string& op = opened.node.op;
    if (opened.inputs.empty() || opened.inputs[0] < 0) return false;
    if (!are_bits(opened.inputs[0])) return false;
    const Dims words = values_of(tensor_at(context_, opened.inputs[0], op).dims);
    const Dims floats = values_of(tensor_at(context_, opened.output, op).dims);
    return !words.empty() && !floats.empty() && floats.back() % kWordBits == 0 &&
           words.back() == floats.back() / kWordBits;
  }

  bool are_bits(int tensor) const {
    return tensor_at(context_, tensor, "LceQuantize").type == kTfLiteInt32;
  }

  TfLiteContext* context_;
  const std::vector<int>& kept_;
  std::map<int, int> readers_;  // how often each tensor is read
  Plan plan_;
};

}  // namespace

bool can_add(TfLiteContext* context, const Node& node) {
  return node.op == "LceBconv2d" && node.outputs.size() == 1 &&
         tensor_at(context, node.outputs[0], node.op).type == kTfLiteFloat32;
}

bool is_sum_of_tensors(const Stage& stage) {
  return stage.kind == Kind::kAdd && stage.other == Other::kTensor;
}

Plan fused(TfLiteContext* context, const Plan& plan, const std::vector<int>& kept) {
  return Fusion(context, plan, kept).plan();
}

}  // namespace siman
