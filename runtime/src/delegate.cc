// A TensorFlow Lite external delegate that takes the ops of Larq Compute Engine.
#include <algorithm>
#include <chrono>
#include <memory>
#include <mutex>
#include <new>
#include <string>

#include "../siman_runtime/include/siman_runtime.h"
#include "error.h"
#include "partition.h"
#include "plan.h"
#include "profile.h"
#include "tensors.h"
#include "tflite_abi.h"
#include "trace.h"

namespace siman {
namespace {

constexpr int kMostThreads = 64;

struct Delegate : TfLiteDelegate {
  // One for all partitions, of one interpreter or of several, which may be in several threads.
  std::shared_ptr<ThreadPool> shared_pool(int threads) {
    const std::lock_guard<std::mutex> lock(mutex);
    if (!pool) pool = ThreadPool::make(std::clamp(threads, 1, kMostThreads));
    return pool;
  }

  const std::shared_ptr<MemoryBudget> budget = std::make_shared<MemoryBudget>();

 private:
  std::mutex mutex;
  std::shared_ptr<ThreadPool> pool;
};

// What Python reads when the runtime's own message is lost.
std::string& last_error() {
  thread_local std::string text;
  return text;
}

void remember(const std::exception& error) {
  const bool is_memory = dynamic_cast<const std::bad_alloc*>(&error) != nullptr;
  last_error() = std::string("siman-runtime: ") + (is_memory ? "out of memory" : error.what());
}

// No exception may pass through the runtime, which is C.
template <class Body>
TfLiteStatus guarded(TfLiteContext* context, const Body& body) {
  try {
    body();
    return kTfLiteOk;
  } catch (const std::exception& error) {
    remember(error);
  }
  context->ReportError(context, "%s\n", last_error().c_str());
  return kTfLiteError;
}

// Null for the first that cannot be made, and all behind it, so that its cause is the last error.
void* init(TfLiteContext* context, const char* buffer, std::size_t) {
  Partition* partition = nullptr;
  if (!last_error().empty()) return partition;
  guarded(context, [&] {
    const auto& params = *reinterpret_cast<const TfLiteDelegateParams*>(buffer);
    auto* delegate = static_cast<Delegate*>(params.delegate);
    partition = new Partition(context, params, chosen_kernel(),
                              delegate->shared_pool(context->recommended_num_threads),
                              delegate->budget);
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
  last_error().clear();  // below it must be of this model
  const TfLiteStatus status = guarded(context, [&] {
    TfLiteRegistration registration = {};
    registration.init = init;
    registration.free = release;
    registration.prepare = prepare;
    registration.invoke = invoke;
    registration.custom_name = "SimanRuntime";
    registration.version = 1;
    const IntArray nodes(nodes_to_take(context, takes_blocks()));
    const bool is_done = context->ReplaceNodeSubsetsWithDelegateKernels(
                             context, registration, nodes.get(), delegate) == kTfLiteOk;
    if (!is_done && last_error().empty()) {
      fail("the runtime did not hand over the ops of Larq Compute Engine.");
    }
  });
  return last_error().empty() ? status : kTfLiteError;  // also of an `init`
}

}  // namespace
}  // namespace siman

TfLiteDelegate* tflite_plugin_create_delegate(const char* const* keys, const char* const*,
                                              std::size_t count, void (*report)(const char*)) {
  try {
    if (count != 0) {
      siman::fail("option '", keys[0], "' is unknown: the delegate takes none. The number of "
                  "threads is the interpreter's num_threads.");
    }
    siman::chosen_kernel();
    siman::takes_blocks();
    auto* delegate = new siman::Delegate();
    delegate->Prepare = siman::claim;
    delegate->flags = kTfLiteDelegateFlagsAllowDynamicTensors;
    return delegate;
  } catch (const std::exception& error) {
    siman::remember(error);
    if (report != nullptr) report(siman::last_error().c_str());
    return nullptr;
  }
}

void tflite_plugin_destroy_delegate(TfLiteDelegate* delegate) {
  delete static_cast<siman::Delegate*>(delegate);
}

const char* siman_kernel_name() {
  try {
    return siman::chosen_kernel().name;
  } catch (const std::exception& error) {
    siman::remember(error);
    return nullptr;
  }
}

const char* siman_last_error() { return siman::last_error().c_str(); }

// Below is what the package for Python calls alone.
extern "C" {

// Whether whole blocks are taken, or -1 with siman_last_error() set.
SIMAN_EXPORT int siman_takes_blocks() {
  try {
    return siman::takes_blocks() ? 1 : 0;
  } catch (const std::exception& error) {
    siman::remember(error);
    return -1;
  }
}

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
SIMAN_EXPORT void siman_profile(bool on) { siman::Profile::instance().start(on); }

SIMAN_EXPORT std::size_t siman_profile_text(char* text, std::size_t size) {
  const std::string lines = siman::Profile::instance().text();
  if (size > 0) {
    const std::size_t length = std::min(size - 1, lines.size());
    std::copy_n(lines.begin(), length, text);
    text[length] = '\0';
  }
  return lines.size() + 1;
}

// The bits that go into the binary convolutions and LceDequantizes that this thread runs: kept from now
// on or no more, and forgotten, by the first; how many there are by now; and each of them with its node
// and its dimensions, at most six, in the order in which they ran.
SIMAN_EXPORT void siman_trace(bool on) { siman::Trace::of_this_thread().start(on); }

SIMAN_EXPORT std::size_t siman_traced() { return siman::Trace::of_this_thread().inputs().size(); }

SIMAN_EXPORT const void* siman_traced_input(std::size_t index, int* node, int* rank, int* dims) {
  const siman::Trace::Input& input = siman::Trace::of_this_thread().inputs().at(index);
  *node = input.node;
  *rank = static_cast<int>(input.dims.size());
  std::copy(input.dims.begin(), input.dims.end(), dims);
  return input.words.data();
}

}  // extern "C"
