"""How the native library is compiled, for setup.py and tools."""

import os

FLAGS = ["-std=c++17", "-O3", "-g0", "-fPIC", "-fvisibility=hidden", "-pthread"]
# No fused multiply-add: outputs must equal those of Larq Compute Engine bit for bit.
FLAGS += ["-ffp-contract=off"]
FLAGS += ["-Wall", "-Wextra", "-Wpedantic", "-Wshadow"]
# For this project's own builds: a user's compiler may know warnings that nobody has seen yet.
if os.environ.get("SIMAN_WERROR"):
    FLAGS += ["-Werror"]
# Each instruction set is compiled for itself, and entered only where the processor has it.
FLAGS_OF = {
    "kernel_avx2": ["-mavx2"],
    "kernel_avx512bw": ["-mavx512f", "-mavx512bw"],
    "kernel_avx512": ["-mavx512f", "-mavx512bw", "-mavx512vpopcntdq"],
}
