// LceQuantize (signs to bits, also of what is above a threshold) and LceDequantize (bits to signs), and what all ops share.
#include <algorithm>
#include <cmath>
#include <utility>

#include "error.h"
#include "ops.h"

namespace siman {

std::int64_t elements(const std::string& op, const Dims& dims) {
  constexpr std::int64_t kMost = std::int64_t{1} << 28;
  std::int64_t count = 1;
  for (const int size : dims) {
    if (size == 0) fail(op, ": nothing is left of its input. Give the model larger inputs.");
    if (size < 1) fail(op, ": a tensor has a dimension of ", size, "; at least 1 is needed.");
    count *= size;
    if (count > kMost) fail(op, ": a tensor has more than ", kMost, " elements.");
  }
  return count;
}

namespace {

constexpr std::int64_t kGrain = 64;  // words that are worth a call

struct Masks {
  constexpr Masks() {
    for (int bit = 0; bit < kWordBits; ++bit) of[bit] = std::uint32_t{1} << bit;
  }
  std::uint32_t of[kWordBits] = {};
};
constexpr Masks kMasks;

void check_rank(const std::string& op, const Dims& dims) {
  if (dims.empty() || dims.size() > 6) {
    fail(op, ": a tensor of rank ", dims.size(), "; 1 to 6 is allowed.");
  }
}

class Quantize final : public Op {
 public:
  Quantize(const Kernel& kernel, const Tensor& input)
      : Op("LceQuantize", kernel), type_(input.type), zero_point_(input.zero_point) {}

  Dims prepare(const std::vector<Dims>& inputs) override {
    const Dims& input = inputs[0];
    check_rank(name_, input);
    rows_ = elements(name_, input) / input.back();
    channels_ = input.back();
    if (inputs.size() > 1) {
      Dims of_sample(input.size(), 1);
      of_sample[0] = input[0];
      check_alike("SUB", of_sample, inputs[1]);
    }
    samples_ = inputs.size() > 1 ? input[0] : 1;
    Dims output = input;
    output.back() = words_for(channels_);
    return output;
  }

  void run(const std::vector<const void*>& inputs, void* output,
           const Workspace& workspace) override {
    const std::int64_t row_words = words_for(channels_), rows = rows_ / samples_;
    for (std::int64_t n = 0; n < samples_; ++n) {
      const float threshold = inputs.size() > 1 ? static_cast<const float*>(inputs[1])[n] : 0.0f;
      pack_rows(inputs[0], n * rows, threshold,
                static_cast<std::uint32_t*>(output) + n * rows * row_words, workspace.pool);
    }
  }

 private:
  // Of a sample, or of all where they have no thresholds.
  void pack_rows(const void* input, std::int64_t first, float threshold, std::uint32_t* words,
                 ThreadPool& pool) const {
    const std::int64_t row_words = words_for(channels_), rows = rows_ / samples_;
    const bool is_alone = type_ == Type::kFloat32 && rows * channels_ <= kernel_.values_alone;
    const std::int64_t grain = is_alone ? rows : std::max<std::int64_t>(kGrain / row_words, 1);
    pool.run(rows, grain, [&](std::int64_t begin, std::int64_t end) {
      const std::int64_t from = (first + begin) * channels_;
      std::uint32_t* to = words + begin * row_words;
      if (type_ == Type::kFloat32) {
        kernel_.pack(static_cast<const float*>(input) + from, end - begin, channels_, threshold, to);
        return;
      }
      for (std::int64_t row = 0; row < end - begin; ++row) {
        pack_row(input, from + row * channels_, to + row * row_words);
      }
    });
  }

  void pack_row(const void* input, std::int64_t from, std::uint32_t* words) const {
    if (type_ == Type::kInt8) {
      const auto* values = static_cast<const std::int8_t*>(input) + from;
      pack_each(words, [&](int c) { return values[c] < zero_point_; });
    } else {
      const auto* values = static_cast<const std::uint8_t*>(input) + from;
      pack_each(words, [&](int c) { return values[c] == 0; });
    }
  }

  template <class IsNegative>
  void pack_each(std::uint32_t* words, IsNegative is_negative) const {
    for (int begin = 0; begin < channels_; begin += kWordBits) {
      const int end = std::min(begin + kWordBits, channels_);
      std::uint32_t word = 0;
      for (int c = begin; c < end; ++c) {
        word |= static_cast<std::uint32_t>(is_negative(c)) << (c - begin);
      }
      words[begin / kWordBits] = word;
    }
  }

  const Type type_;
  const int zero_point_;
  std::int64_t rows_ = 0;
  std::int64_t samples_ = 1;  // with a threshold of their own, which a second input has
  int channels_ = 0;
};

class Dequantize final : public Op {
 public:
  Dequantize(const Kernel& kernel, const Tensor& output)
      : Op("LceDequantize", kernel), type_(output.type), channels_(output.dims.back()) {
    if (type_ == Type::kInt8) {
      if (!(output.scale > 0.0f)) fail(name_, ": an int8 output with scale ", output.scale, ".");
      const float step = std::round(std::min(1.0f / output.scale, 1024.0f));
      plus_ = static_cast<std::int8_t>(std::min(output.zero_point + static_cast<int>(step), 127));
      minus_ = static_cast<std::int8_t>(std::max(output.zero_point - static_cast<int>(step), -128));
    }
  }

  Dims prepare(const std::vector<Dims>& inputs) override {
    const Dims& input = inputs[0];
    check_rank(name_, input);
    if (input.back() != words_for(channels_)) {
      fail(name_, ": ", input.back(), " words of input cannot hold ", channels_,
           " channels of output. The file is damaged: convert the model again.");
    }
    rows_ = elements(name_, input) / input.back();
    Dims output = input;
    output.back() = channels_;
    elements(name_, output);
    return output;
  }

  void run(const std::vector<const void*>& inputs, void* output,
           const Workspace& workspace) override {
    const auto* words = static_cast<const std::uint32_t*>(inputs[0]);
    workspace.pool.run(rows_, kGrain, [&](std::int64_t begin, std::int64_t end) {
      if (type_ == Type::kFloat32) {
        unpack(words, begin, end, static_cast<float*>(output), 1.0f, -1.0f);
      } else if (type_ == Type::kInt8) {
        unpack(words, begin, end, static_cast<std::int8_t*>(output), plus_, minus_);
      } else {
        unpack(words, begin, end, static_cast<bool*>(output), true, false);
      }
    });
  }

 private:
  template <class Value>
  void unpack(const std::uint32_t* words, std::int64_t begin, std::int64_t end, Value* values,
              Value plus, Value minus) const {
    words += begin * words_for(channels_);
    values += begin * channels_;
    for (std::int64_t row = begin; row < end; ++row) {
      int left = channels_;
      for (; left >= kWordBits; left -= kWordBits, values += kWordBits) {
        const std::uint32_t word = *words++;
        // By masks and with a fixed count, which compilers make vectors of.
        for (int c = 0; c < kWordBits; ++c) values[c] = (word & kMasks.of[c]) != 0 ? minus : plus;
      }
      if (left == 0) continue;
      const std::uint32_t word = *words++;
      for (int c = 0; c < left; ++c) *values++ = (word & kMasks.of[c]) != 0 ? minus : plus;
    }
  }

  const Type type_;
  const int channels_;
  std::int8_t plus_ = 0;
  std::int8_t minus_ = 0;
  std::int64_t rows_ = 0;
};

void check(const char* op, bool holds, const char* what) {
  if (!holds) {
    fail(op, ": ", what, 
         " The model is damaged: convert it again with larq-compute-engine 0.16.0.");
  }
}

}  // namespace

std::unique_ptr<Op> make_quantize(const Kernel& kernel, const Inputs& inputs,
                                  const Tensor& output) {
  check("LceQuantize", inputs.size() == 1 && inputs[0], "it takes one input.");
  check("LceQuantize", inputs[0]->type != Type::kBits, "its input is float32, int8 or bool.");
  check("LceQuantize", output.type == Type::kBits, "its output is int32.");
  return std::make_unique<Quantize>(kernel, *inputs[0]);
}

std::unique_ptr<Op> make_dequantize(const Kernel& kernel, const Inputs& inputs,
                                    const Tensor& output) {
  check("LceDequantize", inputs.size() == 1 && inputs[0], "it takes one input.");
  check("LceDequantize", inputs[0]->type == Type::kBits, "its input is int32.");
  check("LceDequantize", output.type != Type::kBits, "its output is float32, int8 or bool.");
  check("LceDequantize", !output.dims.empty() && output.dims.back() > 0,
        "its output has no channels.");
  return std::make_unique<Dequantize>(kernel, output);
}

}  // namespace siman
