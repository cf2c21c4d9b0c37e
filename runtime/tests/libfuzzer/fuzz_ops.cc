// libFuzzer makes models, and finds by what they reach which to go on from: none may end the process,
// and every instruction set must give the same outputs.
//
// `make sanitize` compiles and runs this; `corpus` has models to begin with, by `make_corpus.py`.
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <vector>

#include "model.h"
#include "runtime.h"

extern "C" TfLiteDelegate* tflite_plugin_create_delegate(const char* const*, const char* const*,
                                                         std::size_t, void (*)(const char*));
extern "C" void tflite_plugin_destroy_delegate(TfLiteDelegate*);

namespace {

[[noreturn]] void fail(const char* kernel, const char* what) {
  std::fprintf(stderr, "ERROR: the %s kernel %s\n", kernel, what);
  std::abort();
}

std::vector<std::string> outputs_of(const fuzz::Model& model, TfLiteDelegate* delegate,
                                    const char* kernel) {
  fuzz::Runtime runtime(model);
  if (!runtime.is_loaded()) return {};
  const std::vector<std::string> outputs = runtime.run(delegate);
  if (!runtime.are_constants_whole()) fail(kernel, "writes into constants");
  return outputs;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const fuzz::Model model({data, size});
  std::vector<std::string> first;
  for (const char* kernel : {"portable", "avx2", "avx512bw", "avx512", "neon", "neondot"}) {
    setenv("SIMAN_KERNEL", kernel, 1);
    TfLiteDelegate* delegate = tflite_plugin_create_delegate(nullptr, nullptr, 0, nullptr);
    if (delegate == nullptr) continue;  // it does not run here
    const std::vector<std::string> outputs = outputs_of(model, delegate, kernel);
    tflite_plugin_destroy_delegate(delegate);
    if (kernel == std::string("portable")) first = outputs;
    if (outputs != first) fail(kernel, "gives other outputs than the portable one");
  }
  return 0;
}
