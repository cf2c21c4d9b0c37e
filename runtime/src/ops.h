// What the ops of Larq Compute Engine do to tensors, apart from any runtime.
//
// Bits: channel c of an image position is bit c % 32 of word c / 32, least significant first; a
// set bit is -1, a clear one +1, and bits past the last channel are clear.
#ifndef SIMAN_OPS_H_
#define SIMAN_OPS_H_

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "kernel.h"
#include "options.h"
#include "stage.h"
#include "thread_pool.h"

namespace siman {

enum class Type { kFloat32, kInt8, kBool, kBits };

using Dims = std::vector<int>;

constexpr int kWordBits = 32;

inline int words_for(int channels) { return channels / kWordBits + (channels % kWordBits != 0); }

// Elements of a tensor; throws Error above 2^28 or below 1 in a dimension.
std::int64_t elements(const std::string& op, const Dims& dims);

// Throws Mismatch, naming the op, if they differ.
void check_alike(const std::string& op, const Dims& one, const Dims& other);

struct Tensor {
  Type type = Type::kFloat32;
  Dims dims;
  const void* data = nullptr;  // of constants only
  float scale = 1.0f;          // of int8 only
  int zero_point = 0;
};

// Bytes that an op needs: of its own, and while it runs only.
struct Memory {
  std::int64_t own = 0;
  std::int64_t scratch = 0;
};

// What ops have by turns.
struct Workspace {
  ThreadPool& pool;
  void* scratch;
};

class Op {
 public:
  Op(std::string name, const Kernel& kernel) : name_(std::move(name)), kernel_(kernel) {}
  virtual ~Op() = default;
  Op(const Op&) = delete;
  Op& operator=(const Op&) = delete;

  // Plans for inputs of these dimensions and returns the output's. Throws Error.
  virtual Dims prepare(const std::vector<Dims>& inputs) = 0;
  // Of that plan.
  virtual Memory memory() const { return {}; }
  // Takes its own memory, before `run`.
  virtual void build() {}
  // Does not throw; `inputs` and `output` have the prepared dimensions.
  virtual void run(const std::vector<const void*>& inputs, void* output,
                   const Workspace& workspace) = 0;
  // Has what it gives go on through this stage, where it writes it; for a tensor that the stage reads
  // `prepare` and `run` get one more input. Of some ops, and of them not every stage: see `Plan`.
  virtual void append(const Stage&) {}
  // Whether the output may be written over an input of the same dimensions.
  virtual bool may_replace(std::size_t) const { return false; }

  const std::string& name() const { return name_; }

 protected:
  const std::string name_;
  const Kernel& kernel_;
};

// `inputs` and `output` as the model declares them; `inputs[0]` is the only one that is no constant,
// and an absent input is null. Each throws Error for what it does not know.
using Inputs = std::vector<std::unique_ptr<Tensor>>;
std::unique_ptr<Op> make_quantize(const Kernel&, const Inputs&, const Tensor& output);
std::unique_ptr<Op> make_dequantize(const Kernel&, const Inputs&, const Tensor& output);
std::unique_ptr<Op> make_max_pool(const Kernel&, const Options&, const Inputs&,
                                  const Tensor& output);
std::unique_ptr<Op> make_convolution(const Kernel&, const Options&, const Inputs&,
                                     const Tensor& output);

}  // namespace siman

#endif  // SIMAN_OPS_H_
