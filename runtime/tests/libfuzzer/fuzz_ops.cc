// libFuzzer makes models, and finds by what they reach which to go on from: none may end the process,
// every instruction set must give the same outputs, and so must every way to fuse ops or not.
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

using Runs = std::vector<fuzz::Run>;  // at one size after the other

[[noreturn]] void fail(const char* kernel, const char* what) {
  std::fprintf(stderr, "ERROR: the %s kernel %s\n", kernel, what);
  std::abort();
}

struct Settings {
  const char* kernel;
  const char* fuse = "1";
  bool keeps_all = false;
};

// Of a model that is loaded; none if the kernel does not run here, or if not all nodes are taken where
// that is asked for.
Runs runs_of(const fuzz::Model& model, const Settings& settings, bool needs_all = false) {
  setenv("SIMAN_KERNEL", settings.kernel, 1);
  setenv("SIMAN_FUSE", settings.fuse, 1);
  TfLiteDelegate* delegate = tflite_plugin_create_delegate(nullptr, nullptr, 0, nullptr);
  if (delegate == nullptr) return {};
  Runs runs;
  {
    fuzz::Runtime runtime(model, settings.keeps_all);
    if (runtime.is_loaded()) runs = runtime.run(delegate);
    if (!runtime.are_constants_whole()) fail(settings.kernel, "writes into constants");
    if (needs_all && !runtime.takes_all()) runs.clear();
  }
  tflite_plugin_destroy_delegate(delegate);
  return runs;
}

// That the other way, in which more may be refused for its size, gives nothing else.
void check_same(const char* kernel, const Runs& runs, const Runs& others, const char* what) {
  for (std::size_t i = 0; i < runs.size() && i < others.size(); ++i) {
    if (others[i].is_ready && !runs[i].is_ready) fail(kernel, what);
    for (const auto& [tensor, bytes] : others[i].outputs) {
      const auto found = runs[i].outputs.find(tensor);
      if (found != runs[i].outputs.end() && found->second != bytes) fail(kernel, what);
    }
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const fuzz::Model model({data, size});
  const char* simple = "portable";
  const Runs first = runs_of(model, {simple});
  if (first.empty()) return 0;
  for (const char* kernel : {"avx2", "avx512bw", "avx512", "neon", "neondot"}) {
    const Runs runs = runs_of(model, {kernel});
    if (!runs.empty() && runs != first) fail(kernel, "gives other outputs than the portable one");
  }
  check_same(simple, first, runs_of(model, {simple, "1", true}), "fuses what it must not");
  check_same(simple, first, runs_of(model, {simple, "0"}, true), "differs with SIMAN_FUSE=0");
  return 0;
}
