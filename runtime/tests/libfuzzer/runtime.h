// A runtime around the delegate that is no more than it needs.
#ifndef SIMAN_TESTS_RUNTIME_H_
#define SIMAN_TESTS_RUNTIME_H_

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <deque>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "../../src/tflite_abi.h"
#include "model.h"
#include "tensor_memory.h"

namespace fuzz {

constexpr std::size_t kMostToRun = 1 << 14;  // of a tensor, in a model that is not only prepared

struct Run {
  bool is_ready = false;  // and not refused
  std::map<int, std::string> outputs;  // of all partitions, their bytes; none if that were too many

  bool operator==(const Run& other) const {
    return is_ready == other.is_ready && outputs == other.outputs;
  }
};

class Runtime : TfLiteContext {
 public:
  // With all that nodes make as outputs, or those alone that must be.
  Runtime(const Model& model, bool keeps_all)
      : TfLiteContext{}, model_(model), keeps_all_(keeps_all) {
    GetExecutionPlan = [](TfLiteContext* context, TfLiteIntArray** plan) {
      *plan = static_cast<Runtime*>(context)->plan_;
      return kTfLiteOk;
    };
    GetNodeAndRegistration = [](TfLiteContext* context, int index, TfLiteNode** node,
                                TfLiteRegistration** registration) {
      auto* self = static_cast<Runtime*>(context);
      *node = &self->nodes_[index];
      *registration = &self->registrations_[index];
      return kTfLiteOk;
    };
    ResizeTensor = [](TfLiteContext*, TfLiteTensor* tensor, TfLiteIntArray* dims) {
      return resize(*tensor, dims) ? kTfLiteOk : kTfLiteError;
    };
    ReportError = ignore;
    ReplaceNodeSubsetsWithDelegateKernels = [](TfLiteContext* context, TfLiteRegistration own,
                                               const TfLiteIntArray* taken, TfLiteDelegate* by) {
      return static_cast<Runtime*>(context)->replace(own, values_of(taken), by);
    };
    recommended_num_threads = 1;
    is_loaded_ = add_tensors() && add_nodes();
    TfLiteContext::tensors = tensors_.data();
    tensors_size = tensors_.size();
  }

  ~Runtime() {
    for (TfLiteNode& node : partitions_) {
      if (node.user_data != nullptr) own_.free(this, node.user_data);
    }
    for (TfLiteTensor& tensor : tensors_) {
      if (tensor.allocation_type != kTfLiteMmapRo) std::free(tensor.data);
      std::free(tensor.dims);
    }
    for (TfLiteNode& node : nodes_) {
      std::free(node.inputs);
      std::free(node.outputs);
    }
    std::free(plan_);
  }

  bool is_loaded() const { return is_loaded_; }

  bool are_constants_whole() const {
    for (std::size_t i = 0; i < tensors_.size(); ++i) {
      if (tensors_[i].allocation_type != kTfLiteMmapRo) continue;
      const auto* bytes = static_cast<const std::uint8_t*>(tensors_[i].data);
      for (std::size_t n = 0; n < tensors_[i].bytes; ++n) {
        if (bytes[n] != byte_of(model_.tensors[i], n)) return false;
      }
    }
    return true;
  }

  // At the sizes that the model declares, and at others.
  std::vector<Run> run(TfLiteDelegate* delegate) {
    if (delegate->Prepare(this, delegate) != kTfLiteOk) return {Run{}};
    std::vector<Run> runs = {run_once()};
    if (model_.resizes.empty()) return runs;
    for (const Resize& change : model_.resizes) {
      if (!resize(change)) return runs;
    }
    runs.push_back(run_once());
    return runs;
  }

  bool takes_all() const { return taken_ == nodes_.size(); }

 private:
  Run run_once() {
    Run run;
    for (TfLiteNode& node : partitions_) {
      if (own_.prepare(this, &node) != kTfLiteOk) return {};
    }
    run.is_ready = true;
    for (const TfLiteTensor& tensor : tensors_) {
      if (tensor.bytes > kMostToRun) return run;
    }
    for (TfLiteNode& node : partitions_) {
      if (own_.invoke(this, &node) != kTfLiteOk) return {};
    }
    for (const int index : given_) run.outputs[index] = text_of(tensors_[index]);
    return run;
  }

  // Of what no node makes alone.
  bool resize(const Resize& change) {
    if (change.tensor >= static_cast<int>(tensors_.size())) return false;
    TfLiteTensor& tensor = tensors_[change.tensor];
    const bool is_made = std::count(written_.begin(), written_.end(), change.tensor) != 0;
    if (is_made || tensor.allocation_type == kTfLiteMmapRo) return false;
    std::vector<int> dims = values_of(tensor.dims);
    if (change.axis < static_cast<int>(dims.size())) {
      dims[change.axis] = change.size;
    } else if (!dims.empty()) {
      dims.pop_back();
    }
    return resize(tensor, array_of(dims));
  }

  static void ignore(TfLiteContext*, const char*, ...) {}

  static bool resize(TfLiteTensor& tensor, TfLiteIntArray* dims) {
    const std::size_t bytes = bytes_of(tensor.type, values_of(dims));
    std::free(tensor.dims);
    tensor.dims = dims;
    if (bytes == 0) return false;
    std::free(tensor.data);
    tensor.data = std::malloc(bytes);
    tensor.bytes = bytes;
    fill(tensor);
    return true;
  }

  bool add_tensors() {
    for (const TensorSpec& spec : model_.tensors) {
      TfLiteTensor tensor = {};
      tensor.type = spec.type;
      tensor.params = {spec.scale, spec.zero_point};
      tensors_.push_back(tensor);
      const bool has_size = resize(tensors_.back(), array_of(spec.dims));
      if (!has_size) return false;
      if (spec.pattern.empty()) continue;
      TfLiteTensor& constant = tensors_.back();
      std::free(constant.data);
      const std::size_t bytes = static_cast<std::size_t>(
          std::max<std::ptrdiff_t>(static_cast<std::ptrdiff_t>(constant.bytes) + spec.surplus, 1));
      // At its end memory ends, so that reading on is seen.
      auto memory = std::make_unique<std::uint8_t[]>(bytes + spec.shift);
      for (std::size_t i = 0; i < bytes; ++i) memory[spec.shift + i] = byte_of(spec, i);
      constant.data = memory.get() + spec.shift;
      constant.bytes = bytes;
      constant.allocation_type = kTfLiteMmapRo;
      constants_.push_back(std::move(memory));
    }
    return true;
  }

  // As runtimes do, no tensor is read or made that there is not, or made twice.
  bool add_nodes() {
    std::vector<int> plan;
    for (const NodeSpec& spec : model_.nodes) {
      for (const int index : spec.inputs) {
        if (index >= static_cast<int>(tensors_.size())) return false;
      }
      for (const int index : spec.outputs) {
        if (index < 0 || index >= static_cast<int>(tensors_.size())) return false;
        if (std::count(written_.begin(), written_.end(), index) != 0) return false;
        written_.push_back(index);
      }
      TfLiteNode node = {};
      node.inputs = array_of(spec.inputs);
      node.outputs = array_of(spec.outputs);
      node.custom_initial_data = spec.options.data();
      node.custom_initial_data_size = static_cast<int>(spec.options.size());
      TfLiteRegistration registration = {};
      registration.custom_name = spec.op.custom_name;
      registration.builtin_code = spec.op.builtin;
      params_.push_back(params_of(spec));
      node.builtin_data = spec.options.empty() ? nullptr : &params_.back();
      plan.push_back(static_cast<int>(nodes_.size()));
      nodes_.push_back(node);
      registrations_.push_back(registration);
    }
    plan_ = array_of(plan);
    return true;
  }

  // Nodes that follow each other become one.
  TfLiteStatus replace(const TfLiteRegistration& own, const std::vector<int>& taken,
                       TfLiteDelegate* delegate) {
    own_ = own;
    taken_ = taken.size();
    for (std::size_t first = 0, end; first < taken.size(); first = end) {
      for (end = first + 1; end < taken.size() && taken[end] == taken[end - 1] + 1;) ++end;
      const std::vector<int> nodes(taken.begin() + first, taken.begin() + end);
      std::vector<int> outputs;
      for (const int node : nodes) {
        for (const int tensor : values_of(nodes_[node].outputs)) {
          if (is_needed(tensor, nodes)) outputs.push_back(tensor);
        }
      }
      given_.insert(given_.end(), outputs.begin(), outputs.end());
      TfLiteDelegateParams params = {delegate, array_of(nodes), array_of({}), array_of(outputs)};
      TfLiteNode node = {};
      node.user_data = own_.init(this, reinterpret_cast<const char*>(&params), 0);
      partitions_.push_back(node);
      std::free(params.nodes_to_replace);
      std::free(params.input_tensors);
      std::free(params.output_tensors);
    }
    return kTfLiteOk;
  }

  bool is_needed(int tensor, const std::vector<int>& inside) const {
    const auto contains = [](const std::vector<int>& values, int value) {
      return std::find(values.begin(), values.end(), value) != values.end();
    };
    bool is_read = false;
    for (int node = 0; node < static_cast<int>(nodes_.size()); ++node) {
      if (!contains(values_of(nodes_[node].inputs), tensor)) continue;
      if (!contains(inside, node)) return true;
      is_read = true;
    }
    return !is_read || keeps_all_ || contains(model_.kept, tensor);
  }

  const Model& model_;
  const bool keeps_all_;
  bool is_loaded_ = false;
  std::vector<TfLiteTensor> tensors_;
  std::vector<std::unique_ptr<std::uint8_t[]>> constants_;
  std::vector<int> written_;
  std::vector<int> given_;  // outputs of partitions
  std::size_t taken_ = 0;   // nodes
  std::vector<TfLiteNode> nodes_;
  std::vector<TfLiteRegistration> registrations_;
  std::deque<Params> params_;
  TfLiteIntArray* plan_ = nullptr;
  TfLiteRegistration own_ = {};
  std::vector<TfLiteNode> partitions_;
};

}  // namespace fuzz

#endif  // SIMAN_TESTS_RUNTIME_H_
