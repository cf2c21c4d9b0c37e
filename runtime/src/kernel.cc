#include "kernel.h"

#include <cstdlib>
#include <cstring>
#include <string>
#include <vector>

#include "error.h"

namespace siman {
namespace {

std::vector<const Kernel*> runnable() {  // the fastest first
  std::vector<const Kernel*> kernels;
#if defined(__x86_64__)
  __builtin_cpu_init();
  if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
      __builtin_cpu_supports("avx512vpopcntdq")) {
    kernels.push_back(&kAvx512Kernel);
  }
  if (__builtin_cpu_supports("avx2")) kernels.push_back(&kAvx2Kernel);
#elif defined(__aarch64__)
  kernels.push_back(&kNeonKernel);
#endif
  kernels.push_back(&kPortableKernel);
  return kernels;
}

}  // namespace

const Kernel& chosen_kernel() {
  const std::vector<const Kernel*> kernels = runnable();
  const char* wanted = std::getenv("SIMAN_KERNEL");
  if (wanted == nullptr || *wanted == '\0') return *kernels.front();
  std::string names;
  for (const Kernel* kernel : kernels) {
    if (std::strcmp(kernel->name, wanted) == 0) return *kernel;
    names += (names.empty() ? "" : ", ") + std::string(kernel->name);
  }
  fail("SIMAN_KERNEL=", wanted, " does not run on this processor; these do: ", names,
       ". Unset it to take the fastest.");
}

}  // namespace siman
