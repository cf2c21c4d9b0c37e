#include "kernel.h"

#include <cstdlib>
#include <cstring>
#include <string>
#include <vector>

#include "error.h"

#if defined(__x86_64__)
#include <cpuid.h>
#elif defined(__aarch64__) && defined(__linux__)
#include <sys/auxv.h>
#endif

namespace siman {
namespace {

#if defined(__x86_64__)
struct Processor {
  bool avx2 = false;
  bool avx512_bw = false;
  bool avx512 = false;
};

// By CPUID itself: __builtin_cpu_supports knows nothing where the compiler's runtime library is not
// GCC's or LLVM's own. The system must save the registers, too (XGETBV).
Processor processor() {
  Processor found;
  unsigned eax = 0, ebx = 0, ecx = 0, edx = 0;
  if (__get_cpuid(1, &eax, &ebx, &ecx, &edx) == 0 || (ecx & bit_OSXSAVE) == 0) return found;
  unsigned saved = 0, high = 0;
  asm volatile("xgetbv" : "=a"(saved), "=d"(high) : "c"(0));
  if (__get_cpuid_count(7, 0, &eax, &ebx, &ecx, &edx) == 0) return found;
  constexpr unsigned kAvxState = 0x06, kAvx512State = 0xe6;
  constexpr unsigned kAvx2 = 1u << 5, kAvx512F = 1u << 16, kAvx512Bw = 1u << 30;
  constexpr unsigned kVpopcntdq = 1u << 14;  // in ECX
  found.avx2 = (saved & kAvxState) == kAvxState && (ebx & kAvx2) != 0;
  found.avx512_bw = found.avx2 && (saved & kAvx512State) == kAvx512State && (ebx & kAvx512F) != 0 &&
                    (ebx & kAvx512Bw) != 0;
  found.avx512 = found.avx512_bw && (ecx & kVpopcntdq) != 0;
  return found;
}
#elif defined(__aarch64__) && defined(__linux__)
bool has_dot_products() {
  constexpr unsigned long kAsimdDp = 1ul << 20;  // HWCAP_ASIMDDP, which old headers lack
  return (getauxval(AT_HWCAP) & kAsimdDp) != 0;
}
#elif defined(__ARM_FEATURE_DOTPROD)
bool has_dot_products() { return true; }  // as all of Apple's
#elif defined(__aarch64__)
bool has_dot_products() { return false; }  // by no way that is known here
#endif

std::vector<const Kernel*> runnable() {  // the fastest first
  std::vector<const Kernel*> kernels;
#if defined(__x86_64__)
  const Processor found = processor();
  if (found.avx512) kernels.push_back(&kAvx512Kernel);
  if (found.avx512_bw) kernels.push_back(&kAvx512BwKernel);
  if (found.avx2) kernels.push_back(&kAvx2Kernel);
#elif defined(__aarch64__)
  if (has_dot_products()) kernels.push_back(&kNeonDotKernel);
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
