// Memory of tensors, and what is in it.
#ifndef SIMAN_TESTS_TENSOR_MEMORY_H_
#define SIMAN_TESTS_TENSOR_MEMORY_H_

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <string>
#include <vector>

#include "../../src/tflite_abi.h"
#include "model.h"

namespace fuzz {

constexpr std::size_t kMostBytes = 1 << 17;  // of a tensor

inline TfLiteIntArray* array_of(const std::vector<int>& values) {
  auto* array = static_cast<TfLiteIntArray*>(std::malloc(sizeof(int) * (values.size() + 2)));
  array->size = static_cast<int>(values.size());
  std::copy(values.begin(), values.end(), array->data);
  return array;
}

inline std::vector<int> values_of(const TfLiteIntArray* array) {
  return {array->data, array->data + array->size};
}

inline std::size_t size_of(TfLiteType type) {
  return type == kTfLiteInt8 || type == kTfLiteBool ? 1 : 4;
}

// As a runtime has it, which does not load a model whose tensors have no size; kMostBytes at most.
inline std::size_t bytes_of(TfLiteType type, const std::vector<int>& dims) {
  std::size_t bytes = size_of(type);
  for (const int size : dims) {
    if (size < 1 || static_cast<std::size_t>(size) > kMostBytes) return 0;
    bytes *= static_cast<std::size_t>(size);
    if (bytes > kMostBytes) return 0;
  }
  return bytes;
}

inline std::uint8_t byte_of(const TensorSpec& constant, std::size_t index) {
  return constant.pattern[index % constant.pattern.size()];
}

// Numbers of both signs, from -1 to 1; and what is nearly nothing.
inline void fill(TfLiteTensor& tensor) {
  std::uint32_t state = 12345;
  const auto draw = [&] { return (state = state * 1664525u + 1013904223u) >> 16; };
  auto* bytes = static_cast<std::uint8_t*>(tensor.data);
  if (tensor.type != kTfLiteFloat32) {
    for (std::size_t i = 0; i < tensor.bytes; ++i) bytes[i] = static_cast<std::uint8_t>(draw());
    return;
  }
  for (std::size_t i = 0; i < tensor.bytes; i += 4) {
    const int value = static_cast<int>(draw() % 512) - 256;
    const float number = value == 0 ? -1e-45f : static_cast<float>(value) / 256;
    std::memcpy(bytes + i, &number, sizeof number);
  }
}

// Of floats that are no numbers only that.
inline std::string text_of(const TfLiteTensor& tensor) {
  std::string text(static_cast<const char*>(tensor.data), tensor.bytes);
  for (std::size_t i = 0; tensor.type == kTfLiteFloat32 && i < text.size(); i += 4) {
    float value;
    std::memcpy(&value, &text[i], sizeof value);
    if (value != value) text.replace(i, 4, "nan!");
  }
  return text;
}

}  // namespace fuzz

#endif  // SIMAN_TESTS_TENSOR_MEMORY_H_
