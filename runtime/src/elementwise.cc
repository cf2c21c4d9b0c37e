// Float32 ops on each value by itself, all in one pass over memory.
#include <algorithm>
#include <utility>

#include "broadcast.h"
#include "error.h"
#include "float_ops.h"

namespace siman {

void check_alike(const std::string& op, const Dims& one, const Dims& other) {
  if (one != other) {
    throw Mismatch(op + ": its inputs were of dimensions that agree when the model was read and no "
                   "longer are. Resize all inputs of the model alike.");
  }
}

namespace {

constexpr std::int64_t kRepeated = 512;
constexpr std::int64_t kBlock = 2048;  // values that stay in the first cache from stage to stage

const char* name_of(const Stage& stage) {
  switch (stage.kind) {
    case Stage::Kind::kAdd: return "ADD";
    case Stage::Kind::kSubtract:
    case Stage::Kind::kSubtractFrom: return "SUB";
    case Stage::Kind::kMultiply: return "MUL";
    case Stage::Kind::kPrelu: return "PRELU";
    default: return "RELU";
  }
}

class Elementwise final : public Op {
 public:
  Elementwise(const Kernel& kernel, const Stage& stage) : Op(name_of(stage), kernel) {
    append(stage);
  }

  void append(const Stage& stage) override {
    Chained chained = {stage, {}};
    if (stage.other == Stage::Other::kOfChannel) {
      const std::int64_t times = std::max<std::int64_t>(kRepeated / stage.channels, 1);
      for (std::int64_t i = 0; i < times; ++i) {
        chained.repeated.insert(chained.repeated.end(), stage.constants,
                                stage.constants + stage.channels);
      }
    }
    stages_.push_back(std::move(chained));
  }

  Dims prepare(const std::vector<Dims>& inputs) override {
    const Dims& input = inputs[0];
    const std::int64_t all = elements(name_, input);
    channels_ = input.back();
    sample_rows_ = all / input.front() / channels_;
    rows_ = all / channels_;
    broadcast_ = {};
    if (stages_.size() == 1 && inputs.size() == 2 && dims_met(stages_[0].stage, input) != inputs[1]) {
      broadcast_ = Broadcast(name_, input, inputs[1]);
      return broadcast_.dims();
    }
    std::size_t following = 1;
    for (const auto& [stage, repeated] : stages_) {
      if (stage.reads_tensor()) check_alike(name_, dims_met(stage, input), inputs[following++]);
      if (stage.other == Stage::Other::kOfChannel && stage.channels != channels_) {
        fail(name_, ": ", stage.channels, " constants for ", channels_, " channels. Convert the "
             "model again, or give it inputs of the size that it was converted for.");
      }
    }
    return input;
  }

  bool may_replace(std::size_t input) const override {
    if (repeats()) return false;
    std::size_t following = 1;
    for (const auto& [stage, repeated] : stages_) {
      if (!stage.reads_tensor()) continue;
      if (following++ == input) return stages_.size() == 1 && stage.other == Stage::Other::kTensor;
    }
    return input == 0;
  }

  void run(const std::vector<const void*>& inputs, void* output,
           const Workspace& workspace) override {
    if (repeats()) return run_repeating(inputs, static_cast<float*>(output), workspace.pool);
    const std::int64_t rows = std::max<std::int64_t>(kBlock / channels_, 1);
    workspace.pool.run(rows_, rows, [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t row = begin; row < end; row += rows) {
        run_block(inputs, row, std::min(row + rows, end), static_cast<float*>(output));
      }
    });
  }

 private:
  struct Chained {
    Stage stage;
    std::vector<float> repeated;  // constants of channels, to fill many registers
  };

  // Of the tensor that values of these dimensions meet.
  static Dims dims_met(const Stage& stage, const Dims& input) {
    if (stage.other == Stage::Other::kTensor) return input;
    Dims of_sample(input.size(), 1);
    of_sample[0] = input[0];
    return of_sample;
  }

  bool repeats() const { return broadcast_.rows() > 0; }

  // A single stage on tensors one of which is repeated, whichever of them.
  void run_repeating(const std::vector<const void*>& inputs, float* output, ThreadPool& pool) const {
    Stage stage = stages_[0].stage;
    stage.other = broadcast_.repeats_other() ? Stage::Other::kOfSample : Stage::Other::kTensor;
    const std::int64_t length = broadcast_.length();
    pool.run(broadcast_.rows(), std::max<std::int64_t>(kBlock / length, 1),
             [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t row = begin; row < end; ++row) {
        const Broadcast::Place place = broadcast_.at(row);
        const float* values = static_cast<const float*>(inputs[0]) + place.one;
        const float* others = static_cast<const float*>(inputs[1]) + place.other;
        float* to = output + row * length;
        if (broadcast_.repeats_one()) {
          std::fill_n(to, length, *values);
          values = to;
        }
        kernel_.apply(stage, values, others, length, to);
      }
    });
  }

  void run_block(const std::vector<const void*>& inputs, std::int64_t begin, std::int64_t end,
                 float* output) const {
    const auto* values = static_cast<const float*>(inputs[0]) + begin * channels_;
    float* to = output + begin * channels_;
    std::size_t following = 1;
    for (const Chained& chained : stages_) {
      const float* other = chained.stage.reads_tensor()
                               ? static_cast<const float*>(inputs[following++])
                           : chained.repeated.empty() ? chained.stage.constants
                                                      : chained.repeated.data();
      run_stage(chained, values, other, begin, end, to);
      values = to;
    }
  }

  void run_stage(const Chained& chained, const float* values, const float* other,
                 std::int64_t begin, std::int64_t end, float* to) const {
    using Other = Stage::Other;
    const Stage& stage = chained.stage;
    if (stage.other == Other::kTensor) other += begin * channels_;
    std::int64_t rows = end - begin;  // that meet the same
    if (stage.other == Other::kOfChannel) rows = chained.repeated.size() / channels_;
    for (std::int64_t row = begin; row < end; row += rows) {
      if (stage.other == Other::kOfSample) rows = sample_rows_ - row % sample_rows_;
      const std::int64_t place = (row - begin) * channels_;
      const float* met = stage.other == Other::kOfSample ? other + row / sample_rows_ : other;
      kernel_.apply(stage, values + place, met, std::min(rows, end - row) * channels_, to + place);
    }
  }

  std::vector<Chained> stages_;
  Broadcast broadcast_;  // without rows if nothing is repeated but what a stage says
  int channels_ = 0;
  std::int64_t rows_ = 0;
  std::int64_t sample_rows_ = 0;
};

}  // namespace

std::unique_ptr<Op> make_elementwise(const Kernel& kernel, const Stage& stage) {
  return std::make_unique<Elementwise>(kernel, stage);
}

}  // namespace siman
