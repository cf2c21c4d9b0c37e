// Runs a model of Larq Compute Engine once, by TensorFlow Lite's C library: every value of its only
// input is 1, and the values of its first output are printed. Both must be float32.
//
//   run_model model.tflite
#include <cstdio>
#include <vector>

#include "siman_runtime.h"
#include "tensorflow/lite/c/c_api.h"

int main(int count, char** arguments) {
  if (count != 2) {
    std::fprintf(stderr, "usage: run_model model.tflite\n");
    return 1;
  }
  TfLiteModel* model = TfLiteModelCreateFromFile(arguments[1]);
  TfLiteDelegate* delegate = tflite_plugin_create_delegate(nullptr, nullptr, 0, nullptr);
  if (model == nullptr || delegate == nullptr) {
    std::fprintf(stderr, "%s\n", model == nullptr ? "no such model" : siman_last_error());
    return 1;
  }
  TfLiteInterpreterOptions* options = TfLiteInterpreterOptionsCreate();
  TfLiteInterpreterOptionsSetNumThreads(options, 2);
  TfLiteInterpreterOptionsAddDelegate(options, delegate);
  TfLiteInterpreter* interpreter = TfLiteInterpreterCreate(model, options);
  if (interpreter == nullptr || TfLiteInterpreterAllocateTensors(interpreter) != kTfLiteOk) {
    return 1;  // why is on standard error
  }
  if (TfLiteInterpreterGetInputTensorCount(interpreter) != 1 ||
      TfLiteInterpreterGetOutputTensorCount(interpreter) < 1) {
    std::fprintf(stderr, "the model must have one input, and an output\n");
    return 1;
  }
  TfLiteTensor* input = TfLiteInterpreterGetInputTensor(interpreter, 0);
  const TfLiteTensor* output = TfLiteInterpreterGetOutputTensor(interpreter, 0);
  if (TfLiteTensorType(input) != kTfLiteFloat32 || TfLiteTensorType(output) != kTfLiteFloat32) {
    std::fprintf(stderr, "the model's input and output must be float32\n");
    return 1;
  }
  const std::vector<float> values(TfLiteTensorByteSize(input) / sizeof(float), 1);
  TfLiteTensorCopyFromBuffer(input, values.data(), TfLiteTensorByteSize(input));
  if (TfLiteInterpreterInvoke(interpreter) != kTfLiteOk) return 1;
  std::vector<float> results(TfLiteTensorByteSize(output) / sizeof(float));
  TfLiteTensorCopyToBuffer(output, results.data(), TfLiteTensorByteSize(output));
  for (const float result : results) std::printf("%.9g\n", static_cast<double>(result));
  TfLiteInterpreterDelete(interpreter);
  TfLiteInterpreterOptionsDelete(options);
  tflite_plugin_destroy_delegate(delegate);
  TfLiteModelDelete(model);
  return 0;
}
