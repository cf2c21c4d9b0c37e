"""Builds libsiman_runtime.so for Android with its NDK, as SimanDelegate.java and C++ load it.

    python runtime/tools/android.py $ANDROID_NDK_HOME app/src/main/jniLibs

makes jniLibs/arm64-v8a and jniLibs/x86_64, which Gradle puts into the app. It has not been tested
on a device: no NDK can be had here.
"""

import subprocess
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from objects import HERE, SOURCES, compiled

API = 24  # Android 7
ABIS = {"arm64-v8a": "aarch64", "x86_64": "x86_64"}
GLUE = HERE / "android" / "siman_delegate.cc"
INCLUDE = f"-I{HERE / 'siman_runtime' / 'include'}"
# Android 15 may have pages of 16 KiB. What the library takes from libc++ is nobody else's.
LINKED = ["-shared", "-static-libstdc++", "-Wl,--exclude-libs,ALL", "-Wl,-s"]
LINKED += ["-Wl,-z,max-page-size=16384"]


def compiler_of(ndk: Path, machine: str) -> Path:
    pattern = f"toolchains/llvm/prebuilt/*/bin/{machine}-linux-android{API}-clang++"
    found = sorted(ndk.glob(pattern))
    if not found:
        sys.exit(f"{ndk} is no Android NDK: it has no {pattern}; install NDK r26 or later")
    return found[0]


def main() -> None:
    if len(sys.argv) != 3:
        sys.exit(f"usage: {sys.argv[0]} NDK OUTPUT\n\n{__doc__}")
    ndk, output = map(Path, sys.argv[1:])
    compilers = {abi: compiler_of(ndk, machine) for abi, machine in ABIS.items()}
    for abi, compiler in compilers.items():
        library = output / abi / "libsiman_runtime.so"
        library.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory() as name:
            is_x86 = abi == "x86_64"
            objects = compiled(compiler, [*SOURCES, GLUE], Path(name), is_x86, INCLUDE)
            made = library.with_suffix(".new")
            subprocess.run([compiler, *LINKED, "-o", made, *objects], check=True)
            made.replace(library)
        print(f"{library} {library.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
