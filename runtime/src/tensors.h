// The runtime's tensors and arrays, checked.
#ifndef SIMAN_TENSORS_H_
#define SIMAN_TENSORS_H_

#include <cstddef>
#include <string>
#include <vector>

#include "ops.h"
#include "tflite_abi.h"

namespace siman {

// A TfLiteIntArray of one's own.
class IntArray {
 public:
  explicit IntArray(const std::vector<int>& values);
  ~IntArray();
  IntArray(const IntArray&) = delete;
  IntArray& operator=(const IntArray&) = delete;

  const TfLiteIntArray* get() const { return raw_; }
  TfLiteIntArray* release();  // for functions that take it over

 private:
  TfLiteIntArray* raw_;
};

std::vector<int> values_of(const TfLiteIntArray* array);

// Throws Error, naming the op, if there is no such tensor.
TfLiteTensor& tensor_at(TfLiteContext* context, int index, const std::string& op);

std::size_t size_of(Type type);  // of an element, in bytes

bool is_constant(const TfLiteTensor& tensor);  // its memory is the file's

// Whether a constant of float32 or int32 has as many bytes as its dimensions ask for, at a multiple of
// their size.
bool is_whole(const TfLiteTensor& constant);

// A tensor as the model declares it. Its bytes must be what type and dimensions say: otherwise
// either the file is damaged or this runtime lays out its tensors in another way. Throws Error.
Tensor described(const TfLiteTensor& raw, const std::string& op);

}  // namespace siman

#endif  // SIMAN_TENSORS_H_
