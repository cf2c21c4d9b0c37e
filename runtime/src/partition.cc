#include "partition.h"

#include <algorithm>
#include <chrono>
#include <set>
#include <string>
#include <utility>

#include "error.h"
#include "fusion.h"
#include "profile.h"
#include "tensors.h"
#include "trace.h"

namespace siman {
namespace {

std::string text_of(const Dims& dims) {
  std::string text;
  for (const int size : dims) text += (text.empty() ? "" : "x") + std::to_string(size);
  return text;
}

std::int64_t mebibytes(std::int64_t bytes) { return (bytes + (1 << 20) - 1) >> 20; }

Type type_of(const TfLiteTensor& tensor) {
  return tensor.type == kTfLiteInt8 || tensor.type == kTfLiteBool ? Type::kInt8 : Type::kFloat32;
}

std::int64_t bytes_of_output(const Step& step) {  // at a time
  return elements(step.op->name(), step.dims) * static_cast<std::int64_t>(size_of(step.type));
}

// Whether a step may write its output where this tensor is, which it reads no more than once.
bool may_replace(const Step& step, int tensor) {
  const auto found = std::find(step.inputs.begin(), step.inputs.end(), tensor);
  return found != step.inputs.end() && std::count(found, step.inputs.end(), tensor) == 1 &&
         step.op->may_replace(static_cast<std::size_t>(found - step.inputs.begin()));
}

void resize(TfLiteContext* context, const Step& step) {
  TfLiteTensor& tensor = tensor_at(context, step.output, step.op->name());
  if (values_of(tensor.dims) == step.dims && tensor.data != nullptr) return;
  IntArray size(step.dims);
  if (context->ResizeTensor(context, &tensor, size.release()) != kTfLiteOk) {
    fail(step.op->name(), ": its output cannot be made ", text_of(step.dims), ".");
  }
}

}  // namespace

Partition::Partition(TfLiteContext* context, const TfLiteDelegateParams& params,
                     const Kernel& kernel, std::shared_ptr<ThreadPool> pool,
                     std::shared_ptr<MemoryBudget> budget)
    : kernel_(kernel),
      plan_(plan_of(context, values_of(params.nodes_to_replace))),
      outputs_(values_of(params.output_tensors)),
      pool_(std::move(pool)),
      memory_(std::move(budget)) {
  build(context, true);
}

void Partition::prepare(TfLiteContext* context) {
  if (!are_fused_) build(context, true);
  try {
    fit_to_inputs(context);
  } catch (const Mismatch&) {
    build(context, false);
    fit_to_inputs(context);
  }
  for (const Step& step : steps_) {
    if (is_output(step.output)) resize(context, step);
  }
  samples_ = runs_sample_by_sample() ? inputs_.begin()->second[0] : 1;
  place_outputs();
  take_memory();
}

void Partition::build(TfLiteContext* context, bool are_fused) {
  steps_ = built(context, are_fused ? fused(context, plan_, outputs_) : plan_, kernel_);
  are_fused_ = are_fused;
}

void Partition::fit_to_inputs(TfLiteContext* context) {
  std::set<int> made;
  inputs_.clear();
  for (const Step& step : steps_) {
    for (const int index : step.inputs) {
      if (made.count(index) != 0) continue;
      inputs_[index] = values_of(tensor_at(context, index, step.op->name()).dims);
    }
    const bool is_first = made.insert(step.output).second && inputs_.count(step.output) == 0;
    if (!is_first) fail(step.op->name(), ": two ops write one tensor.");
  }
  fit(inputs_);
}

// Plans all steps for inputs of these dimensions.
void Partition::fit(const std::map<int, Dims>& inputs) {
  std::map<int, Dims> known = inputs;
  for (Step& step : steps_) {
    std::vector<Dims> dims;
    for (const int index : step.inputs) dims.push_back(known.at(index));
    if (step.rank != 0 && dims[0].size() != step.rank) {
      fail(step.op->name(), ": an input of rank ", dims[0].size(), " where the file has one of rank ",
           step.rank, ". Give the model inputs of the rank that it was converted for, or convert it "
           "again.");
    }
    step.dims = step.op->prepare(dims);
    step.dims_in = dims[0];
    known[step.output] = step.dims;
  }
}

// Whether all steps work on samples one by one; if so they are then planned for one, and what is of
// several at a time does not leave the processor's caches. They do if the first axis counts samples
// throughout: every output then goes with it and is otherwise the same.
bool Partition::runs_sample_by_sample() {
  const Dims& first = inputs_.begin()->second;
  const int samples = first.empty() ? 1 : first[0];
  const auto counts_samples = [&](const Dims& dims) {
    return dims.size() > 1 && dims[0] == samples;
  };
  std::map<int, Dims> one = inputs_;
  for (auto& [index, dims] : one) {
    if (samples == 1 || !counts_samples(dims)) return false;
    dims[0] = 1;
  }
  std::vector<Dims> all;
  for (const Step& step : steps_) {
    if (!counts_samples(step.dims)) return false;
    all.push_back(step.dims);
    all.back()[0] = 1;
  }
  fit(one);
  for (std::size_t i = 0; i < all.size(); ++i) {
    if (steps_[i].dims == all[i]) continue;
    fit(inputs_);
    return false;
  }
  return true;
}

// Outputs that the runtime does not know share a few buffers. A buffer is free again behind the
// last step that reads it, and for the output of that step if it writes over it, value by value: one
// buffer then stays in the processor's cache.
void Partition::place_outputs() {
  std::map<int, std::size_t> last_reader;
  for (std::size_t i = 0; i < steps_.size(); ++i) {
    for (const int index : steps_[i].inputs) last_reader[index] = i;
  }
  struct Buffer {
    int tensor;
    std::size_t until;
  };
  std::vector<Buffer> taken;
  buffer_lines_.clear();
  for (std::size_t i = 0; i < steps_.size(); ++i) {
    Step& step = steps_[i];
    step.buffer = -1;
    if (is_output(step.output)) continue;
    auto found = std::find_if(taken.begin(), taken.end(), [&](const Buffer& buffer) {
      return buffer.until == i && may_replace(step, buffer.tensor);
    });
    if (found == taken.end()) {
      found = std::find_if(taken.begin(), taken.end(),
                           [&](const Buffer& buffer) { return buffer.until < i; });
    }
    if (found == taken.end()) {
      found = taken.insert(taken.end(), Buffer{});
      buffer_lines_.push_back(0);
    }
    *found = {step.output, std::max(i, last_reader[step.output])};
    step.buffer = static_cast<int>(found - taken.begin());
    std::size_t& lines = buffer_lines_[step.buffer];
    lines = std::max(lines, lines_for(bytes_of_output(step)));
  }
}

// Checked as a whole before any is taken.
void Partition::take_memory() {
  std::int64_t own = 0, most = 0;
  std::size_t lines = 0, scratch = 0;
  const Step* largest = nullptr;
  for (const Step& step : steps_) {
    const Memory needed = step.op->memory();
    own += needed.own;
    scratch = std::max(scratch, lines_for(needed.scratch));
    const std::int64_t all =
        needed.own + needed.scratch + (step.buffer < 0 ? 0 : bytes_of_output(step));
    if (largest == nullptr || all > most) {
      largest = &step;
      most = all;
    }
  }
  for (const std::size_t buffer : buffer_lines_) lines += buffer;
  buffers_.clear();
  scratch_.reset();
  const std::int64_t sum = own + static_cast<std::int64_t>((lines + scratch) * sizeof(Line));
  const std::int64_t held = memory_.hold(sum);
  if (held > MemoryBudget::kMostBytes) {
    fail(largest->op->name(), ": for an output of ", text_of(largest->dims), " it needs ",
         mebibytes(most), " MiB, and all binary ops of the model ", mebibytes(held),
         " MiB; at most ", mebibytes(MemoryBudget::kMostBytes),
         " MiB is allowed. Give the model smaller inputs or a smaller batch.");
  }
  for (Step& step : steps_) step.op->build();
  // Not filled with zeros: every step writes all of its output.
  for (const std::size_t buffer : buffer_lines_) buffers_.emplace_back(new Line[buffer]);
  scratch_.reset(new Line[scratch]);
}

void Partition::invoke(TfLiteContext* context) {
  struct Place {
    char* data;
    std::int64_t step;  // bytes from one sample to the next
  };
  std::map<int, Place> places;
  for (const auto& [index, dims] : inputs_) {
    const TfLiteTensor& tensor = tensor_at(context, index, "LCE ops");
    const std::int64_t bytes = elements("LCE ops", dims) * size_of(type_of(tensor));
    if (tensor.data == nullptr || tensor.bytes != static_cast<std::size_t>(bytes) ||
        values_of(tensor.dims) != dims) {
      fail("LCE ops: tensor ", index, " changed its shape between preparing and running. Set "
           "input sizes before allocate_tensors().");
    }
    places[index] = {static_cast<char*>(tensor.data), bytes / samples_};
  }
  for (const Step& step : steps_) {
    places[step.output] = step.buffer >= 0
                              ? Place{reinterpret_cast<char*>(buffers_[step.buffer].get()), 0}
                              : Place{memory_of_output(context, step), bytes_of_output(step)};
  }
  for (std::int64_t n = 0; n < samples_; ++n) {
    for (Step& step : steps_) {
      step.data.clear();
      for (const int index : step.inputs) {
        step.data.push_back(places[index].data + n * places[index].step);
      }
      run(step, places[step.output].data + n * places[step.output].step);
    }
  }
}

char* Partition::memory_of_output(TfLiteContext* context, const Step& step) const {
  const TfLiteTensor& tensor = tensor_at(context, step.output, step.op->name());
  if (tensor.data == nullptr ||
      tensor.bytes != static_cast<std::size_t>(bytes_of_output(step) * samples_)) {
    fail(step.op->name(), ": the runtime gave no memory for its output.");
  }
  return static_cast<char*>(tensor.data);
}

bool Partition::is_output(int index) const {
  return std::find(outputs_.begin(), outputs_.end(), index) != outputs_.end();
}

void Partition::run(Step& step, void* output) {
  Trace& trace = Trace::of_this_thread();
  if (trace.wants(*step.op)) trace.add(step.node, step.dims_in, step.data[0]);
  const Workspace workspace = {*pool_, scratch_.get()};
  if (!Profile::instance().is_on()) {
    step.op->run(step.data, output, workspace);
    return;
  }
  const auto start = std::chrono::steady_clock::now();
  step.op->run(step.data, output, workspace);
  const auto spent = std::chrono::steady_clock::now() - start;
  Profile::instance().add(
      std::to_string(step.output) + "\t" + step.op->name() + "\t" + text_of(step.dims),
      std::chrono::duration_cast<std::chrono::nanoseconds>(spent).count());
}

}  // namespace siman
