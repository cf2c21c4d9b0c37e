// The bits that go into what a thread runs, kept while it asks for them: into binary convolutions, and
// by LceDequantize into other ops.
#ifndef SIMAN_TRACE_H_
#define SIMAN_TRACE_H_

#include <cstdint>
#include <vector>

#include "ops.h"

namespace siman {

class Trace {
 public:
  struct Input {
    int node;  // the op's number in the model
    Dims dims;
    std::vector<std::uint32_t> words;
  };

  // A runtime calls its delegates in the thread that runs the model, so whose bits these are needs
  // no other sign, however many interpreters share a delegate.
  static Trace& of_this_thread() {
    thread_local Trace trace;
    return trace;
  }

  void start(bool on) {  // forgets all
    on_ = on;
    inputs_.clear();
  }
  bool wants(const Op& op) const {
    return on_ && (op.name() == "LceBconv2d" || op.name() == "LceDequantize");
  }
  void add(int node, const Dims& dims, const void* bits) {
    const auto* first = static_cast<const std::uint32_t*>(bits);
    inputs_.push_back({node, dims, {first, first + elements("Trace", dims)}});
  }
  const std::vector<Input>& inputs() const { return inputs_; }

 private:
  bool on_ = false;
  std::vector<Input> inputs_;
};

}  // namespace siman

#endif  // SIMAN_TRACE_H_
