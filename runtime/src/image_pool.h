// What pools over images have in common: windows over rows and columns, row by row of the output.
#ifndef SIMAN_IMAGE_POOL_H_
#define SIMAN_IMAGE_POOL_H_

#include <string>
#include <utility>

#include "error.h"
#include "ops.h"
#include "window.h"

namespace siman {

template <class Value>
class ImagePool : public Op {
 public:
  // `grain` is how many rows a thread takes at least.
  ImagePool(std::string name, const Kernel& kernel, std::int64_t grain)
      : Op(std::move(name), kernel), grain_(grain) {}

  Dims prepare(const std::vector<Dims>& inputs) override {
    const Dims& input = inputs[0];
    if (input.size() != 4) fail(name_, ": an input of rank ", input.size(), "; 4 is needed.");
    elements(name_, input);
    rows_.fit(name_, input[1]);
    columns_.fit(name_, input[2]);
    batch_ = input[0];
    depth_ = input[3];
    const Dims output = {batch_, rows_.output, columns_.output, depth_};
    elements(name_, output);
    return output;
  }

  void run(const std::vector<const void*>& inputs, void* output,
           const Workspace& workspace) override {
    const auto* from = static_cast<const Value*>(inputs[0]);
    auto* to = static_cast<Value*>(output);
    const std::int64_t image = std::int64_t{rows_.input} * columns_.input * depth_;
    const std::int64_t row_out = std::int64_t{columns_.output} * depth_;
    workspace.pool.run(std::int64_t{batch_} * rows_.output, grain_,
                       [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t row = begin; row < end; ++row) {
        pool_row(from + row / rows_.output * image, static_cast<int>(row % rows_.output),
                 to + row * row_out);
      }
    });
  }

 protected:
  virtual void pool_row(const Value* image, int y, Value* output) const = 0;

  Window rows_;
  Window columns_;
  int depth_ = 0;  // values, or words of bits, of a position

 private:
  const std::int64_t grain_;
  int batch_ = 0;
};

}  // namespace siman

#endif  // SIMAN_IMAGE_POOL_H_
