#include "partition.h"

#include <algorithm>
#include <chrono>
#include <string>
#include <utility>

#include "error.h"
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
    : steps_(built(context,
                   plan_of(context, values_of(params.nodes_to_replace),
                           values_of(params.output_tensors)),
                   kernel)),
      outputs_(values_of(params.output_tensors)),
      pool_(std::move(pool)),
      memory_(std::move(budget)) {}

void Partition::prepare(TfLiteContext* context) {
  std::map<int, Dims> known;
  inputs_.clear();
  for (Step& step : steps_) {
    std::vector<Dims> inputs;
    for (const int index : step.inputs) {
      if (known.count(index) == 0) {
        known[index] = inputs_[index] =
            values_of(tensor_at(context, index, step.op->name()).dims);
      }
      inputs.push_back(known[index]);
    }
    step.dims = step.op->prepare(inputs);
    step.dims_in = inputs[0];
    if (known.count(step.output) != 0) fail(step.op->name(), ": two ops write one tensor.");
    known[step.output] = step.dims;
  }
  place_outputs(context);
  take_memory();
}

// Outputs that the runtime does not know share a few buffers. A buffer is free again behind the
// last step that reads it, and for the output of that step if it adds to it in place, value by
// value: one buffer then stays in the processor's cache.
void Partition::place_outputs(TfLiteContext* context) {
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
    if (is_output(step.output)) {
      resize(context, step);
      continue;
    }
    auto found = std::find_if(taken.begin(), taken.end(), [&](const Buffer& buffer) {
      return buffer.until == i && step.inputs.size() == 2 && buffer.tensor == step.inputs[1] &&
             step.inputs[0] != step.inputs[1];
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
    lines = std::max(lines, lines_for(elements(step.op->name(), step.dims) * size_of(step.type)));
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
    const std::int64_t output = elements(step.op->name(), step.dims) * size_of(step.type);
    const std::int64_t all = needed.own + needed.scratch + (step.buffer < 0 ? 0 : output);
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
  std::map<int, void*> data;
  for (const auto& [index, dims] : inputs_) {
    const TfLiteTensor& tensor = tensor_at(context, index, "LCE ops");
    const std::size_t bytes = elements("LCE ops", dims) * size_of(type_of(tensor));
    if (tensor.data == nullptr || tensor.bytes != bytes || values_of(tensor.dims) != dims) {
      fail("LCE ops: tensor ", index, " changed its shape between preparing and running. Set "
           "input sizes before allocate_tensors().");
    }
    data[index] = tensor.data;
  }
  for (Step& step : steps_) {
    void* output = nullptr;
    if (step.buffer >= 0) {
      output = buffers_[step.buffer].get();
    } else {
      const TfLiteTensor& tensor = tensor_at(context, step.output, step.op->name());
      if (tensor.data == nullptr ||
          tensor.bytes != static_cast<std::size_t>(elements(step.op->name(), step.dims)) *
                              size_of(step.type)) {
        fail(step.op->name(), ": the runtime gave no memory for its output.");
      }
      output = tensor.data;
    }
    step.data.clear();
    for (const int index : step.inputs) step.data.push_back(data.at(index));
    run(step, output);
    data[step.output] = output;
  }
}

bool Partition::is_output(int index) const {
  return std::find(outputs_.begin(), outputs_.end(), index) != outputs_.end();
}

void Partition::run(Step& step, void* output) {
  Trace& trace = Trace::of_this_thread();
  if (trace.is_on() && step.op->name() == "LceBconv2d") {
    trace.add(step.node, step.dims_in, step.data[0]);
  }
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
