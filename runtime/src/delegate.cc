// A TensorFlow Lite external delegate that takes the ops of Larq Compute Engine.
#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "error.h"
#include "ops.h"
#include "tflite_abi.h"

#define SIMAN_EXPORT extern "C" __attribute__((visibility("default")))

namespace siman {
namespace {

constexpr int kMostThreads = 64;

struct IntArray {  // a TfLiteIntArray of one's own
  explicit IntArray(const std::vector<int>& values) {
    raw = static_cast<TfLiteIntArray*>(std::malloc(sizeof(int) * (values.size() + 2)));
    if (raw == nullptr) fail("out of memory");
    raw->size = static_cast<int>(values.size());
    std::copy(values.begin(), values.end(), raw->data);
  }
  ~IntArray() { std::free(raw); }
  IntArray(const IntArray&) = delete;
  IntArray& operator=(const IntArray&) = delete;
  TfLiteIntArray* release() {
    TfLiteIntArray* given = raw;
    raw = nullptr;
    return given;
  }
  TfLiteIntArray* raw;
};

std::vector<int> values_of(const TfLiteIntArray* array) {
  if (array == nullptr || array->size < 0) return {};
  return std::vector<int>(array->data, array->data + array->size);
}

TfLiteTensor& tensor_at(TfLiteContext* context, int index, const std::string& op) {
  if (index < 0 || static_cast<std::size_t>(index) >= context->tensors_size) {
    fail(op, ": tensor ", index, " does not exist. The file is damaged.");
  }
  return context->tensors[index];
}

std::size_t size_of(Type type) {
  return type == Type::kInt8 || type == Type::kBool ? 1 : 4;
}

// A tensor as the model declares it. Its bytes must be what type and dimensions say: otherwise
// either the file is damaged or this runtime lays out its tensors in another way.
Tensor described(const TfLiteTensor& raw, const std::string& op) {
  Tensor tensor;
  switch (raw.type) {
    case kTfLiteFloat32: tensor.type = Type::kFloat32; break;
    case kTfLiteInt8: tensor.type = Type::kInt8; break;
    case kTfLiteBool: tensor.type = Type::kBool; break;
    case kTfLiteInt32: tensor.type = Type::kBits; break;
    default:
      fail(op, ": a tensor of TensorFlow Lite type ", static_cast<int>(raw.type),
           "; known are float32 (1), int32 (2), bool (6) and int8 (9). Update siman-runtime, or "
           "convert the model again.");
  }
  tensor.dims = values_of(raw.dims);
  tensor.scale = raw.params.scale;
  tensor.zero_point = raw.params.zero_point;
  if (tensor.type == Type::kInt8 && (tensor.zero_point < -128 || tensor.zero_point > 127)) {
    fail(op, ": an int8 tensor with zero point ", tensor.zero_point, ".");
  }
  if (raw.allocation_type == kTfLiteMmapRo) {
    const std::int64_t bytes = elements(op, tensor.dims) * size_of(tensor.type);
    if (raw.data == nullptr || raw.bytes != static_cast<std::size_t>(bytes)) {
      fail(op, ": a constant has ", raw.bytes, " bytes where its dimensions ask for ", bytes,
           ". The file is damaged, or the runtime is none that siman-runtime knows.");
    }
    tensor.data = raw.data;
  }
  return tensor;
}

std::unique_ptr<Op> make(const std::string& name, const TfLiteNode& node, const Kernel& kernel,
                         const Inputs& inputs, const Tensor& output) {
  if (name == "LceQuantize") return make_quantize(kernel, inputs, output);
  if (name == "LceDequantize") return make_dequantize(kernel, inputs, output);
  const std::size_t size =
      node.custom_initial_data_size < 0 ? 0 : static_cast<std::size_t>(node.custom_initial_data_size);
  const Options options(name, node.custom_initial_data, size);
  if (name == "LceBconv2d") return make_convolution(kernel, options, inputs, output);
  return make_max_pool(kernel, options, inputs, output);
}

struct Step {
  std::unique_ptr<Op> op;
  int input = 0;
  int output = 0;
  Type type = Type::kFloat32;  // of the output
  Dims dims;                   // of the output, once prepared
  std::vector<char> buffer;    // of the output, where the runtime gives none
};

Step make_step(TfLiteContext* context, int index, const Kernel& kernel) {
  TfLiteNode* node = nullptr;
  TfLiteRegistration* registration = nullptr;
  if (context->GetNodeAndRegistration(context, index, &node, &registration) != kTfLiteOk) {
    fail("node ", index, " of the model cannot be read. The file is damaged.");
  }
  const std::string name = registration->custom_name;
  if (name != "LceQuantize" && name != "LceDequantize" && name != "LceBconv2d" &&
      name != "LceBMaxPool2d") {
    fail("Op ", name, " of Larq Compute Engine is unknown; known are LceQuantize, LceDequantize, "
         "LceBconv2d and LceBMaxPool2d. Update siman-runtime.");
  }
  const std::vector<int> outputs = values_of(node->outputs);
  if (outputs.size() != 1) fail(name, ": ", outputs.size(), " outputs; it has one.");
  Inputs inputs;
  for (const int input : values_of(node->inputs)) {
    inputs.push_back(input == kTfLiteOptionalTensor
                         ? nullptr
                         : std::make_unique<Tensor>(
                               described(tensor_at(context, input, name), name)));
  }
  const Tensor output = described(tensor_at(context, outputs[0], name), name);
  Step step;
  step.op = make(name, *node, kernel, inputs, output);
  step.input = node->inputs->data[0];
  step.output = outputs[0];
  step.type = output.type;
  return step;
}

struct Profile {
  std::mutex mutex;
  bool on = false;
  std::vector<std::string> order;
  std::map<std::string, std::int64_t> nanoseconds;
};

Profile& profile() {
  static Profile instance;
  return instance;
}

std::string text_of(const Dims& dims) {
  std::string text;
  for (const int size : dims) text += (text.empty() ? "" : "x") + std::to_string(size);
  return text;
}

// A run of consecutive ops that the runtime has handed over.
class Partition {
 public:
  Partition(TfLiteContext* context, const TfLiteDelegateParams& params, const Kernel& kernel,
            std::shared_ptr<ThreadPool> pool)
      : outputs_(values_of(params.output_tensors)), pool_(std::move(pool)) {
    for (const int index : values_of(params.nodes_to_replace)) {
      steps_.push_back(make_step(context, index, kernel));
    }
  }

  void prepare(TfLiteContext* context) {
    std::map<int, Dims> made;
    inputs_.clear();
    for (Step& step : steps_) {
      const auto found = made.find(step.input);
      Dims input;
      if (found != made.end()) {
        input = found->second;
      } else {
        input = values_of(tensor_at(context, step.input, step.op->name()).dims);
        inputs_[step.input] = input;
      }
      step.dims = step.op->prepare(input);
      if (made.count(step.output) != 0) fail(step.op->name(), ": two ops write one tensor.");
      made[step.output] = step.dims;
      const std::int64_t bytes = elements(step.op->name(), step.dims) * size_of(step.type);
      step.buffer.clear();
      if (is_output(step.output)) {
        resize(context, step);
      } else {
        step.buffer.resize(static_cast<std::size_t>(bytes));
      }
    }
  }

  void invoke(TfLiteContext* context) {
    std::map<int, void*>& data = data_;
    data.clear();
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
      void* output = step.buffer.data();
      if (step.buffer.empty()) {
        const TfLiteTensor& tensor = tensor_at(context, step.output, step.op->name());
        if (tensor.data == nullptr ||
            tensor.bytes != static_cast<std::size_t>(elements(step.op->name(), step.dims)) *
                                size_of(step.type)) {
          fail(step.op->name(), ": the runtime gave no memory for its output.");
        }
        output = tensor.data;
      }
      run(step, data.at(step.input), output);
      data[step.output] = output;
    }
  }

 private:
  bool is_output(int index) const {
    return std::find(outputs_.begin(), outputs_.end(), index) != outputs_.end();
  }

  static Type type_of(const TfLiteTensor& tensor) {
    return tensor.type == kTfLiteInt8 || tensor.type == kTfLiteBool ? Type::kInt8 : Type::kFloat32;
  }

  static void resize(TfLiteContext* context, const Step& step) {
    TfLiteTensor& tensor = tensor_at(context, step.output, step.op->name());
    if (values_of(tensor.dims) == step.dims && tensor.data != nullptr) return;
    IntArray size(step.dims);  // the runtime takes it over
    if (context->ResizeTensor(context, &tensor, size.release()) != kTfLiteOk) {
      fail(step.op->name(), ": its output cannot be made ", text_of(step.dims), ".");
    }
  }

  void run(Step& step, const void* input, void* output) {
    if (!profile().on) {
      step.op->run(input, output, *pool_);
      return;
    }
    const auto start = std::chrono::steady_clock::now();
    step.op->run(input, output, *pool_);
    const auto spent = std::chrono::steady_clock::now() - start;
    const std::lock_guard<std::mutex> lock(profile().mutex);
    const std::string key = std::to_string(step.output) + "\t" + step.op->name() + "\t" +
                            text_of(step.dims);
    if (profile().nanoseconds.count(key) == 0) profile().order.push_back(key);
    profile().nanoseconds[key] +=
        std::chrono::duration_cast<std::chrono::nanoseconds>(spent).count();
  }

  std::vector<Step> steps_;
  std::vector<int> outputs_;
  std::map<int, Dims> inputs_;
  std::map<int, void*> data_;
  std::shared_ptr<ThreadPool> pool_;
};

struct Delegate : TfLiteDelegate {
  std::shared_ptr<ThreadPool> pool;  // one for all partitions of an interpreter
};

// What Python reads when the runtime's own message is lost.
std::string& last_error() {
  thread_local std::string text;
  return text;
}

// No exception may pass through the runtime, which is C.
template <class Body>
TfLiteStatus guarded(TfLiteContext* context, const Body& body) {
  try {
    body();
    return kTfLiteOk;
  } catch (const std::bad_alloc&) {
    last_error() = "siman-runtime: out of memory";
  } catch (const std::exception& error) {
    last_error() = std::string("siman-runtime: ") + error.what();
  }
  context->ReportError(context, "%s\n", last_error().c_str());
  return kTfLiteError;
}

void* init(TfLiteContext* context, const char* buffer, std::size_t) {
  Partition* partition = nullptr;
  guarded(context, [&] {
    const auto& params = *reinterpret_cast<const TfLiteDelegateParams*>(buffer);
    auto& pool = static_cast<Delegate*>(params.delegate)->pool;
    if (!pool) {
      const int threads = std::clamp(context->recommended_num_threads, 1, kMostThreads);
      pool = std::make_shared<ThreadPool>(threads);
    }
    partition = new Partition(context, params, chosen_kernel(), pool);
  });
  return partition;
}

void release(TfLiteContext*, void* partition) { delete static_cast<Partition*>(partition); }

TfLiteStatus prepare(TfLiteContext* context, TfLiteNode* node) {
  return guarded(context, [&] {
    if (node->user_data == nullptr) fail("the ops of Larq Compute Engine could not be made ready.");
    static_cast<Partition*>(node->user_data)->prepare(context);
  });
}

TfLiteStatus invoke(TfLiteContext* context, TfLiteNode* node) {
  return guarded(context, [&] { static_cast<Partition*>(node->user_data)->invoke(context); });
}

TfLiteStatus claim(TfLiteContext* context, TfLiteDelegate* delegate) {
  return guarded(context, [&] {
    TfLiteIntArray* plan = nullptr;
    if (context->GetExecutionPlan(context, &plan) != kTfLiteOk) fail("the model has no plan.");
    std::vector<int> ours;
    for (const int index : values_of(plan)) {  // copied: the next call may overwrite the plan
      TfLiteNode* node = nullptr;
      TfLiteRegistration* registration = nullptr;
      if (context->GetNodeAndRegistration(context, index, &node, &registration) != kTfLiteOk) {
        fail("node ", index, " of the model cannot be read. The file is damaged.");
      }
      const char* name = registration->custom_name;
      if (name == nullptr || std::strncmp(name, "Lce", 3) != 0) continue;
      make_step(context, index, chosen_kernel());  // raises now, with the cause, or never
      ours.push_back(index);
    }
    TfLiteRegistration registration = {};
    registration.init = init;
    registration.free = release;
    registration.prepare = prepare;
    registration.invoke = invoke;
    registration.custom_name = "SimanRuntime";
    registration.version = 1;
    const IntArray nodes(ours);
    if (context->ReplaceNodeSubsetsWithDelegateKernels(context, registration, nodes.raw,
                                                       delegate) != kTfLiteOk) {
      fail(last_error().empty() ? "the runtime did not hand over the ops of Larq Compute Engine."
                                : last_error());
    }
  });
}

}  // namespace
}  // namespace siman

SIMAN_EXPORT TfLiteDelegate* tflite_plugin_create_delegate(const char* const* keys,
                                                           const char* const*, std::size_t count,
                                                           void (*report)(const char*)) {
  try {
    if (count != 0) {
      siman::fail("option '", keys[0], "' is unknown: the delegate takes none. The number of "
                  "threads is the interpreter's num_threads.");
    }
    siman::chosen_kernel();
    auto* delegate = new siman::Delegate();
    delegate->Prepare = siman::claim;
    delegate->flags = kTfLiteDelegateFlagsAllowDynamicTensors;
    return delegate;
  } catch (const std::exception& error) {
    siman::last_error() = std::string("siman-runtime: ") + error.what();
    if (report != nullptr) report(siman::last_error().c_str());
    return nullptr;
  }
}

SIMAN_EXPORT void tflite_plugin_destroy_delegate(TfLiteDelegate* delegate) {
  delete static_cast<siman::Delegate*>(delegate);
}

// The instruction set in use, or null with siman_last_error() set.
SIMAN_EXPORT const char* siman_kernel_name() {
  try {
    return siman::chosen_kernel().name;
  } catch (const std::exception& error) {
    siman::last_error() = std::string("siman-runtime: ") + error.what();
    return nullptr;
  }
}

SIMAN_EXPORT const char* siman_last_error() { return siman::last_error().c_str(); }

// Bits that the processor counts per second when it does nothing else.
SIMAN_EXPORT double siman_peak_bits_per_second() {
  using Clock = std::chrono::steady_clock;
  const siman::Kernel& kernel = siman::chosen_kernel();
  double best = 0;
  for (int trial = 0; trial < 20; ++trial) {
    const auto start = Clock::now();
    const auto bits = static_cast<double>(kernel.count_in_registers(200000));
    best = std::max(best, bits / std::chrono::duration<double>(Clock::now() - start).count());
  }
  return best;
}

// Times of ops: turned on or off, and forgotten, by the first; the second gives lines of
// tensor, op, output dimensions and nanoseconds, and returns the length it needs.
SIMAN_EXPORT void siman_profile(bool on) {
  const std::lock_guard<std::mutex> lock(siman::profile().mutex);
  siman::profile().on = on;
  siman::profile().order.clear();
  siman::profile().nanoseconds.clear();
}

SIMAN_EXPORT std::size_t siman_profile_text(char* text, std::size_t size) {
  const std::lock_guard<std::mutex> lock(siman::profile().mutex);
  std::string lines;
  for (const std::string& key : siman::profile().order) {
    lines += key + "\t" + std::to_string(siman::profile().nanoseconds[key]) + "\n";
  }
  if (size > 0) {
    const std::size_t length = std::min(size - 1, lines.size());
    std::copy_n(lines.begin(), length, text);
    text[length] = '\0';
  }
  return lines.size() + 1;
}
