"""Builds the library with AddressSanitizer and UBSan into the named folder, with g++ or CXX.

With `--libfuzzer`, for which CXX must be clang, the program of tests/libfuzzer in its place.
"""

import os
import platform
import subprocess
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from objects import HERE, SOURCES, compiled

OPTIONS = ["-fno-sanitize-recover=undefined", "-g", "-O1"]


def main() -> None:
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    compiler = os.environ.get("CXX", "g++")
    is_fuzzer = "--libfuzzer" in sys.argv[2:]
    sources = list(SOURCES)
    sanitizers = "-fsanitize=address,undefined" + (",fuzzer" if is_fuzzer else "")
    if is_fuzzer:
        sources.append(HERE / "tests" / "libfuzzer" / "fuzz_ops.cc")
        output = ["-o", str(folder / "fuzz_ops")]
    else:
        output = ["-shared", "-o", str(folder / "libsiman_runtime.so")]
    is_x86 = platform.machine() == "x86_64"
    objects = compiled(compiler, sources, folder, is_x86, "-Werror", sanitizers, *OPTIONS)
    subprocess.run([compiler, sanitizers, "-pthread", *output, *objects], check=True)


if __name__ == "__main__":
    main()
