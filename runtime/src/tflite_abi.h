// The part of TensorFlow Lite's C structures that a delegate needs, as laid out by TensorFlow
// 2.14 to 2.19 and ai-edge-litert 1.1 to 2.3 (tensorflow/lite/core/c/common.h). Declared here, so
// that building needs no TensorFlow. `delegate.cc` checks the layout of every tensor it takes.
#ifndef SIMAN_TFLITE_ABI_H_
#define SIMAN_TFLITE_ABI_H_

#include <cstddef>
#include <cstdint>

extern "C" {

enum TfLiteStatus : int { kTfLiteOk = 0, kTfLiteError = 1 };

enum TfLiteType : int {
  kTfLiteFloat32 = 1,
  kTfLiteInt32 = 2,
  kTfLiteBool = 6,
  kTfLiteInt8 = 9,
};

enum TfLiteAllocationType : int { kTfLiteMmapRo = 1 };

// Without it the runtime asks the unresolved ops for their shapes before the delegate takes them.
constexpr std::int64_t kTfLiteDelegateFlagsAllowDynamicTensors = 1;
constexpr int kTfLiteOptionalTensor = -1;

// Ops of the runtime's own.
constexpr std::int32_t kTfLiteBuiltinAdd = 0;
constexpr std::int32_t kTfLiteBuiltinMaxPool2d = 17;
constexpr std::int32_t kTfLiteBuiltinMul = 18;
constexpr std::int32_t kTfLiteBuiltinRelu = 19;
constexpr std::int32_t kTfLiteBuiltinReluN1To1 = 20;
constexpr std::int32_t kTfLiteBuiltinRelu6 = 21;
constexpr std::int32_t kTfLiteBuiltinPad = 34;
constexpr std::int32_t kTfLiteBuiltinMean = 40;
constexpr std::int32_t kTfLiteBuiltinSub = 41;
constexpr std::int32_t kTfLiteBuiltinStridedSlice = 45;
constexpr std::int32_t kTfLiteBuiltinPrelu = 54;

struct TfLiteAddParams {
  int activation;
  bool pot_scale_int16;
};

struct TfLiteSubParams {
  int activation;
  bool pot_scale_int16;
};

struct TfLiteMulParams {
  int activation;
};

struct TfLiteReducerParams {
  bool keep_dims;
};

constexpr int kTfLitePaddingSame = 1;
constexpr int kTfLitePaddingValid = 2;

struct TfLitePoolParams {
  int padding;
  int stride_width;
  int stride_height;
  int filter_width;
  int filter_height;
  int activation;
};

struct TfLiteStridedSliceParams {
  int begin_mask;
  int end_mask;
  int ellipsis_mask;
  int new_axis_mask;
  int shrink_axis_mask;
  bool offset;
};

struct TfLiteIntArray {
  int size;
  int data[1];  // `size` of them
};

struct TfLiteTensor {
  TfLiteType type;
  void* data;
  TfLiteIntArray* dims;
  struct {
    float scale;
    std::int32_t zero_point;
  } params;
  TfLiteAllocationType allocation_type;
  std::size_t bytes;
  const void* allocation;
  const char* name;
  struct TfLiteDelegate* delegate;
  int buffer_handle;
  bool data_is_stale;
  bool is_variable;
  struct {
    int type;
    void* params;
  } quantization;
  void* sparsity;
  const TfLiteIntArray* dims_signature;
};

struct TfLiteNode {
  TfLiteIntArray* inputs;
  TfLiteIntArray* outputs;
  TfLiteIntArray* intermediates;
  TfLiteIntArray* temporaries;
  void* user_data;
  void* builtin_data;
  const void* custom_initial_data;
  int custom_initial_data_size;
};

struct TfLiteContext;

// Passed by value, and longer in newer runtimes: what is not known here must be zero.
struct TfLiteRegistration {
  void* (*init)(TfLiteContext*, const char* buffer, std::size_t length);
  void (*free)(TfLiteContext*, void* user_data);
  TfLiteStatus (*prepare)(TfLiteContext*, TfLiteNode*);
  TfLiteStatus (*invoke)(TfLiteContext*, TfLiteNode*);
  const char* (*profiling_string)(const TfLiteContext*, const TfLiteNode*);
  std::int32_t builtin_code;
  const char* custom_name;
  int version;
  void* unknown[12];
};

struct TfLiteContext {
  std::size_t tensors_size;
  TfLiteStatus (*GetExecutionPlan)(TfLiteContext*, TfLiteIntArray** plan);
  TfLiteTensor* tensors;
  void* impl;
  TfLiteStatus (*ResizeTensor)(TfLiteContext*, TfLiteTensor*, TfLiteIntArray* size);
  void (*ReportError)(TfLiteContext*, const char* format, ...);
  TfLiteStatus (*AddTensors)(TfLiteContext*, int count, int* first);
  TfLiteStatus (*GetNodeAndRegistration)(TfLiteContext*, int index, TfLiteNode**,
                                         TfLiteRegistration**);
  TfLiteStatus (*ReplaceNodeSubsetsWithDelegateKernels)(TfLiteContext*, TfLiteRegistration,
                                                        const TfLiteIntArray* nodes,
                                                        struct TfLiteDelegate*);
  int recommended_num_threads;
};

struct TfLiteDelegate {
  void* data;
  TfLiteStatus (*Prepare)(TfLiteContext*, TfLiteDelegate*);
  void* copy_from_buffer_handle;
  void* copy_to_buffer_handle;
  void* free_buffer_handle;
  std::int64_t flags;
  void* unknown[12];
};

struct TfLiteDelegateParams {
  TfLiteDelegate* delegate;
  TfLiteIntArray* nodes_to_replace;
  TfLiteIntArray* input_tensors;
  TfLiteIntArray* output_tensors;
};

}  // extern "C"

#endif  // SIMAN_TFLITE_ABI_H_
