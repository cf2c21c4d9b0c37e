// Float32 ops of the runtime's own that lie between binary ones, as data: what a node asks for, and
// nothing that it does not.
#ifndef SIMAN_FLOAT_OPS_H_
#define SIMAN_FLOAT_OPS_H_

#include <limits>
#include <memory>
#include <optional>
#include <variant>
#include <vector>

#include "node.h"
#include "window.h"

namespace siman {

// The mean over neighbouring axes, none of which is the first.
struct Mean {
  int first = 0;
  int end = 0;  // behind the last
  bool keeps_axes = false;

  Dims dims_of(const Dims& input) const;
};

struct FloatMaxPool {
  Window rows;
  Window columns;
  Bounds bounds;
};

// Every so-manieth position from one on to another, of all samples and all channels.
struct Slice {
  struct Range {
    int begin = 0;
    int end = std::numeric_limits<int>::max();
    int step = 1;
  };
  std::vector<Range> ranges;  // by axis

  Dims dims_of(const Dims& input) const;  // empty if nothing is left
};

// Zeros before and behind, by axis; none around samples.
struct Pad {
  std::vector<int> before;
  std::vector<int> behind;
};

using FloatOp = std::variant<Stage, Mean, FloatMaxPool, Slice, Pad>;

// What a node does, if it is one of these and float32, as its tensors are declared.
std::optional<FloatOp> float_op(TfLiteContext* context, const Node& node);

std::unique_ptr<Op> make_elementwise(const Kernel&, const Stage&);
std::unique_ptr<Op> make_mean(const Kernel&, const Mean&);
std::unique_ptr<Op> make_float_max_pool(const Kernel&, const FloatMaxPool&);
std::unique_ptr<Op> make_slice(const Kernel&, const Slice&);
std::unique_ptr<Op> make_pad(const Kernel&, const Pad&);

}  // namespace siman

#endif  // SIMAN_FLOAT_OPS_H_
