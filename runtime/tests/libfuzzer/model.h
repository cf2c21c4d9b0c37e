// A model of a few ops, made from any bytes.
#ifndef SIMAN_TESTS_MODEL_H_
#define SIMAN_TESTS_MODEL_H_

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <iterator>
#include <vector>

#include "../../src/tflite_abi.h"

namespace fuzz {

constexpr int kExtreme[] = {-1, 1 << 15, (1 << 16) + 1, 1 << 20, 1 << 28, 0x7fffffff};
constexpr int kMostTensors = 32;
constexpr int kMostOps = 16;
constexpr int kCustom = 32;  // an op by its name
struct OpCode {
  const char* custom_name;
  int builtin;
};
constexpr OpCode kOps[] = {{"LceQuantize", kCustom},
                           {"LceDequantize", kCustom},
                           {"LceBconv2d", kCustom},
                           {"LceBMaxPool2d", kCustom},
                           {nullptr, kTfLiteBuiltinAdd},
                           {nullptr, kTfLiteBuiltinSub},
                           {nullptr, kTfLiteBuiltinMul},
                           {nullptr, kTfLiteBuiltinRelu},
                           {nullptr, kTfLiteBuiltinReluN1To1},
                           {nullptr, kTfLiteBuiltinRelu6},
                           {nullptr, kTfLiteBuiltinPrelu},
                           {nullptr, kTfLiteBuiltinMean},
                           {nullptr, kTfLiteBuiltinMaxPool2d},
                           {nullptr, kTfLiteBuiltinStridedSlice},
                           {nullptr, kTfLiteBuiltinPad},
                           {"LceNew", kCustom},
                           {"Other", kCustom}};
constexpr TfLiteType kTypes[] = {kTfLiteFloat32, kTfLiteInt8, kTfLiteBool, kTfLiteInt32,
                                 TfLiteType(4)};
constexpr float kScales[] = {0.37f, 0.0f, 1.0f, 1e-38f, 3e38f, -1.0f};

// Zeros behind the end.
class Bytes {
 public:
  Bytes(const std::uint8_t* data, std::size_t size) : data_(data), size_(size) {}

  int next(int below = 256) {
    if (size_ == 0) return 0;
    --size_;
    return *data_++ % below;
  }
  int number() {  // small, or extreme
    const int value = next();
    return value < 250 ? value : kExtreme[value - 250];
  }
  std::vector<std::uint8_t> some() {
    const std::size_t count = std::min<std::size_t>(next(), size_);
    const std::vector<std::uint8_t> bytes(data_, data_ + count);
    data_ += count;
    size_ -= count;
    return bytes;
  }

 private:
  const std::uint8_t* data_;
  std::size_t size_;
};

struct TensorSpec {
  TfLiteType type;
  std::vector<int> dims;
  float scale;
  int zero_point;
  std::vector<std::uint8_t> pattern;  // of a constant's bytes, over and over
  int shift;                          // of its memory, from where it should be
  int surplus;                        // of its bytes, beyond its dimensions
};

struct NodeSpec {
  OpCode op;
  std::vector<int> inputs;
  std::vector<int> outputs;
  std::vector<std::uint8_t> options;
};

// Of one of the runtime's own ops.
union Params {
  TfLiteAddParams add;
  TfLiteSubParams sub;
  TfLiteMulParams mul;
  TfLiteReducerParams mean;
  TfLitePoolParams pool;
  TfLiteStridedSliceParams slice;
};

inline Params params_of(const NodeSpec& node) {
  Bytes bytes(node.options.data(), node.options.size());
  Params params = {};
  switch (node.op.builtin) {
    case kTfLiteBuiltinAdd: params.add.activation = bytes.next(6); break;
    case kTfLiteBuiltinSub: params.sub.activation = bytes.next(6); break;
    case kTfLiteBuiltinMul: params.mul.activation = bytes.next(6); break;
    case kTfLiteBuiltinMean: params.mean.keep_dims = bytes.next(2) != 0; break;
    case kTfLiteBuiltinMaxPool2d:
      for (int* value : {&params.pool.padding, &params.pool.stride_width, &params.pool.stride_height,
                         &params.pool.filter_width, &params.pool.filter_height}) {
        *value = bytes.number();
      }
      params.pool.activation = bytes.next(6);
      break;
    case kTfLiteBuiltinStridedSlice:
      for (int* mask : {&params.slice.begin_mask, &params.slice.end_mask,
                        &params.slice.ellipsis_mask, &params.slice.new_axis_mask,
                        &params.slice.shrink_axis_mask}) {
        *mask = bytes.number();
      }
      break;
  }
  return params;
}

// What becomes of one axis of an input once the model has run; of that behind the last, that the last
// is gone.
struct Resize {
  int tensor;
  int axis;
  int size;
};

struct Model {
  std::vector<TensorSpec> tensors;
  std::vector<NodeSpec> nodes;
  std::vector<int> kept;  // outputs
  std::vector<Resize> resizes;

  explicit Model(Bytes bytes) {
    const int count = bytes.next(kMostTensors);
    for (int i = 0; i < count; ++i) {
      TensorSpec tensor = {};
      tensor.type = kTypes[bytes.next(std::size(kTypes))];
      const int rank = bytes.next(8);
      for (int d = 0; d < rank; ++d) tensor.dims.push_back(bytes.number());
      tensor.scale = kScales[bytes.next(std::size(kScales))];
      tensor.zero_point = bytes.number() - 128;
      tensor.pattern = bytes.some();
      const int odd = bytes.next();
      tensor.shift = odd > 250 ? odd - 250 : 0;
      tensor.surplus = odd > 240 && odd <= 250 ? odd - 245 : 0;
      tensors.push_back(tensor);
    }
    const int ops = bytes.next(kMostOps);
    for (int i = 0; i < ops; ++i) {
      NodeSpec node = {kOps[bytes.next(std::size(kOps))], {}, {}, {}};
      for (int n = bytes.next(8); n > 0; --n) node.inputs.push_back(bytes.next(kMostTensors) - 1);
      for (int n = bytes.next(4); n > 0; --n) node.outputs.push_back(bytes.next(kMostTensors) - 1);
      node.options = bytes.some();
      nodes.push_back(node);
    }
    while (const int index = bytes.next()) kept.push_back(index - 1);
    for (int n = bytes.next(4); n > 0; --n) {
      const int tensor = bytes.next(kMostTensors), axis = bytes.next(8);
      resizes.push_back({tensor, axis, bytes.number()});
    }
  }
};

}  // namespace fuzz

#endif  // SIMAN_TESTS_MODEL_H_
