// ADD behind a binary convolution: a float32 sum without repeats. The runtime has one too, but hands
// over between it and ours, and wakes its own threads, for every one.
#include "error.h"
#include "ops.h"

namespace siman {

void check_addends(const Dims& one, const Dims& other) {
  if (one != other) {
    fail("ADD: its inputs were of equal dimensions when the model was read and no longer are. "
         "Resize all inputs of the model to the same batch size.");
  }
}

namespace {

class Add final : public Op {
 public:
  explicit Add(const Kernel& kernel) : Op("ADD", kernel) {}

  Dims prepare(const std::vector<Dims>& inputs) override {
    check_addends(inputs[0], inputs[1]);
    elements_ = elements(name_, inputs[0]);
    return inputs[0];
  }

  void run(const std::vector<const void*>& inputs, void* output,
           const Workspace& workspace) override {
    const auto* one = static_cast<const float*>(inputs[0]);
    const auto* other = static_cast<const float*>(inputs[1]);
    auto* sums = static_cast<float*>(output);
    workspace.pool.run(elements_, 1024, [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t i = begin; i < end; ++i) sums[i] = bounds_.clamp(one[i] + other[i]);
    });
  }

 private:
  std::int64_t elements_ = 0;
};

}  // namespace

std::unique_ptr<Op> make_add(const Kernel& kernel, const Inputs& inputs, const Tensor& output) {
  const auto is_float = [](const std::unique_ptr<Tensor>& tensor) {
    return tensor != nullptr && tensor->type == Type::kFloat32 && tensor->data == nullptr;
  };
  if (inputs.size() != 2 || !is_float(inputs[0]) || !is_float(inputs[1]) ||
      output.type != Type::kFloat32) {
    fail("ADD: two float32 inputs and a float32 output are needed. The model is damaged.");
  }
  return std::make_unique<Add>(kernel);
}

}  // namespace siman
