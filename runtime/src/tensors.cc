#include "tensors.h"

#include <algorithm>
#include <cstdint>
#include <cstdlib>

#include "error.h"

namespace siman {

IntArray::IntArray(const std::vector<int>& values)
    : raw_(static_cast<TfLiteIntArray*>(std::malloc(sizeof(int) * (values.size() + 2)))) {
  if (raw_ == nullptr) fail("out of memory");
  raw_->size = static_cast<int>(values.size());
  std::copy(values.begin(), values.end(), raw_->data);
}

IntArray::~IntArray() { std::free(raw_); }

TfLiteIntArray* IntArray::release() {
  TfLiteIntArray* given = raw_;
  raw_ = nullptr;
  return given;
}

std::vector<int> values_of(const TfLiteIntArray* array) {
  if (array == nullptr || array->size < 0) return {};
  return std::vector<int>(array->data, array->data + array->size);
}

TfLiteTensor& tensor_at(TfLiteContext* context, int index, const std::string& op) {
  if (index < 0 || static_cast<std::size_t>(index) >= context->tensors_size) {
    fail(op, ": tensor ", index, " does not exist. The file is damaged.");
  }
  return context->tensors[index];
}

std::size_t size_of(Type type) {
  return type == Type::kInt8 || type == Type::kBool ? 1 : 4;
}

bool is_constant(const TfLiteTensor& tensor) { return tensor.allocation_type == kTfLiteMmapRo; }

bool is_whole(const TfLiteTensor& constant) {
  std::size_t bytes = sizeof(float);
  for (const int size : values_of(constant.dims)) {
    if (size < 1 || bytes > constant.bytes) return false;
    bytes *= static_cast<std::size_t>(size);
  }
  return constant.data != nullptr && constant.bytes == bytes &&
         reinterpret_cast<std::uintptr_t>(constant.data) % sizeof(float) == 0;
}

Tensor described(const TfLiteTensor& raw, const std::string& op) {
  Tensor tensor;
  switch (raw.type) {
    case kTfLiteFloat32: tensor.type = Type::kFloat32; break;
    case kTfLiteInt8: tensor.type = Type::kInt8; break;
    case kTfLiteBool: tensor.type = Type::kBool; break;
    case kTfLiteInt32: tensor.type = Type::kBits; break;
    default:
      fail(op, ": a tensor of TensorFlow Lite type ", static_cast<int>(raw.type),
           "; known are float32 (1), int32 (2), bool (6) and int8 (9). Update siman-runtime, or "
           "convert the model again.");
  }
  tensor.dims = values_of(raw.dims);
  tensor.scale = raw.params.scale;
  tensor.zero_point = raw.params.zero_point;
  if (tensor.type == Type::kInt8 && (tensor.zero_point < -128 || tensor.zero_point > 127)) {
    fail(op, ": an int8 tensor with zero point ", tensor.zero_point, ".");
  }
  if (is_constant(raw)) {
    const std::int64_t bytes = elements(op, tensor.dims) * size_of(tensor.type);
    if (raw.data == nullptr || raw.bytes != static_cast<std::size_t>(bytes)) {
      fail(op, ": a constant has ", raw.bytes, " bytes where its dimensions ask for ", bytes,
           ". The file is damaged, or the runtime is none that siman-runtime knows.");
    }
    if (reinterpret_cast<std::uintptr_t>(raw.data) % size_of(tensor.type) != 0) {
      fail(op, ": a constant does not lie at a multiple of ", size_of(tensor.type),
           " bytes. The file is damaged: convert the model again.");
    }
    tensor.data = raw.data;
  }
  return tensor;
}

}  // namespace siman
