// How a binary convolution goes over an input of given dimensions: nothing of it changes any more.
#ifndef SIMAN_CONVOLUTION_PLAN_H_
#define SIMAN_CONVOLUTION_PLAN_H_

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "packed_filter.h"
#include "window.h"

namespace siman {

class ConvolutionPlan {
 public:
  ConvolutionPlan() = default;
  // Throws Error for dimensions that do not fit.
  ConvolutionPlan(const std::string& op, Window rows, Window columns, const PackedFilter& filter,
                  const Dims& input);

  const Window& rows() const { return tall_.window; }
  const Window& columns() const { return wide_.window; }
  int batch() const { return batch_; }
  std::int64_t image_words() const {
    return std::int64_t{tall_.window.input} * wide_.window.input * position_words_;
  }

  // Words of a copy of an image with +1 around it; 0 where the image itself will do.
  std::int64_t padded_words() const;
  void pad(const std::uint32_t* image, std::uint32_t* padded) const;

  // Of the image or its copy: the first word under the window at an output position, words from one
  // position to the next, and the runs of words under the window, from its first.
  std::ptrdiff_t start(int y, int x) const {
    return y * tall_.window.stride * row_words_ + x * column_step();
  }
  std::ptrdiff_t column_step() const { return std::ptrdiff_t{wide_.window.stride} * position_words_; }
  std::int64_t segments() const { return std::int64_t{tall_.window.size} * (is_joined_ ? 1 : wide_.window.size); }
  int segment_words() const { return segment_words_; }
  std::vector<std::ptrdiff_t> offsets() const;

 private:
  // One spatial dimension of what the window goes over.
  struct Extent {
    explicit Extent(const Window& window = {});
    // Where a tap begins. All places where it lies outside at all positions are alike, so the
    // nearest will do: memory then depends on the image, whatever the filter's reach.
    std::ptrdiff_t place(int tap) const;
    bool has_padding() const { return before > 0 || size > window.input; }

    Window window;
    std::ptrdiff_t travel;  // of the window, from the first position to the last
    std::ptrdiff_t before;  // positions before the image
    std::ptrdiff_t size;
  };

  int batch_ = 0;
  int position_words_ = 0;
  int segment_words_ = 0;
  bool is_joined_ = false;  // taps of a row lie side by side
  Extent tall_;
  Extent wide_;
  std::ptrdiff_t row_words_ = 0;  // from one row to the next
};

}  // namespace siman

#endif  // SIMAN_CONVOLUTION_PLAN_H_
