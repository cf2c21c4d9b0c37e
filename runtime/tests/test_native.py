"""The native library without Python: from C, C++ and Java, and built for other systems."""

import importlib
import importlib.util
import os
import runpy
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from tflite_models import FLOAT, INT8, Builder, Convolution

import siman_runtime
from siman_runtime import Interpreter

RUNTIME = Path(__file__).parents[1]
INCLUDE = Path(siman_runtime.__file__).parent / "include"
LIBRARY = Path(os.environ.get("SIMAN_LIBRARY", INCLUDE.parent / "libsiman_runtime.so"))
TOOLS = RUNTIME / "tools"
OP = Convolution(height=6, width=5, channels=40, filters=20)

pytestmark = [
    pytest.mark.skipif(not TOOLS.exists(), reason="tests without the package's source"),
    # Where it is emulated, compilers are those of the machine that emulates.
    pytest.mark.usefixtures("starts_python"),
]


def needs(*names):
    for name in names:
        if not shutil.which(name):
            pytest.skip(f"{name} is not installed")


def run(*command, **options):
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, **options)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.parametrize(("compiler", "standard"), [("gcc", "c99"), ("g++", "c++11")])
def test_header(compiler, standard, tmp_path):
    needs(compiler)
    source = tmp_path / ("a.c" if compiler == "gcc" else "a.cc")
    source.write_text(
        '#include "siman_runtime.h"\n#include "siman_runtime.h"\n'
        "struct TfLiteDelegate* made(void) { return tflite_plugin_create_delegate(0, 0, 0, 0); }\n"
    )
    warnings = ["-Wall", "-Wextra", "-Wpedantic", "-Wstrict-prototypes", "-Werror"]
    if compiler == "g++":
        warnings.remove("-Wstrict-prototypes")
    run(compiler, f"-std={standard}", *warnings, f"-I{INCLUDE}", "-fsyntax-only", source)


# The part of TensorFlow Lite's own header that the example uses.
C_API = """
#include <stddef.h>
#include <stdint.h>
extern "C" {
enum TfLiteStatus { kTfLiteOk = 0 };
enum TfLiteType { kTfLiteFloat32 = 1 };
struct TfLiteModel; struct TfLiteInterpreter; struct TfLiteInterpreterOptions; struct TfLiteTensor;
struct TfLiteDelegate;
const char* TfLiteVersion(void);
TfLiteModel* TfLiteModelCreateFromFile(const char*);
void TfLiteModelDelete(TfLiteModel*);
TfLiteInterpreterOptions* TfLiteInterpreterOptionsCreate(void);
void TfLiteInterpreterOptionsSetNumThreads(TfLiteInterpreterOptions*, int32_t);
void TfLiteInterpreterOptionsAddDelegate(TfLiteInterpreterOptions*, TfLiteDelegate*);
void TfLiteInterpreterOptionsDelete(TfLiteInterpreterOptions*);
TfLiteInterpreter* TfLiteInterpreterCreate(const TfLiteModel*, const TfLiteInterpreterOptions*);
TfLiteStatus TfLiteInterpreterAllocateTensors(TfLiteInterpreter*);
TfLiteStatus TfLiteInterpreterInvoke(TfLiteInterpreter*);
void TfLiteInterpreterDelete(TfLiteInterpreter*);
int32_t TfLiteInterpreterGetInputTensorCount(const TfLiteInterpreter*);
int32_t TfLiteInterpreterGetOutputTensorCount(const TfLiteInterpreter*);
TfLiteTensor* TfLiteInterpreterGetInputTensor(const TfLiteInterpreter*, int32_t);
const TfLiteTensor* TfLiteInterpreterGetOutputTensor(const TfLiteInterpreter*, int32_t);
TfLiteType TfLiteTensorType(const TfLiteTensor*);
size_t TfLiteTensorByteSize(const TfLiteTensor*);
TfLiteStatus TfLiteTensorCopyFromBuffer(TfLiteTensor*, const void*, size_t);
TfLiteStatus TfLiteTensorCopyToBuffer(const TfLiteTensor*, void*, size_t);
}
"""


def c_library():
    """TensorFlow Lite's C library, as a package of other people's has it."""
    found = importlib.util.find_spec("pymicro_wakeword")
    if found is None:
        pytest.skip("TensorFlow Lite's C library is absent: pip install --no-deps pymicro-wakeword")
    return Path(found.origin).parent / "lib" / "libtensorflowlite_c.so"


def test_program_in_cpp(tmp_path):
    needs("g++")
    tflite = c_library()
    header = tmp_path / "tensorflow" / "lite" / "c" / "c_api.h"
    header.parent.mkdir(parents=True)
    header.write_text(C_API)
    (tmp_path / "model.tflite").write_bytes(OP.model())
    program = tmp_path / "run_model"
    source = RUNTIME / "examples" / "run_model.cc"
    includes = [f"-I{INCLUDE}", f"-I{tmp_path}"]
    paths = [f"-Wl,-rpath,{path.parent}" for path in (LIBRARY, tflite)]
    flags = ["-std=c++17", "-Wall", "-Wextra", "-Wpedantic", "-Werror"]
    run("g++", *flags, *includes, source, LIBRARY, tflite, *paths, "-o", program)
    found = np.array(run(program, tmp_path / "model.tflite").split(), np.float32)
    np.testing.assert_array_equal(found, OP.expected(np.ones((1, 6, 5, 40), np.float32)).ravel())
    (tmp_path / "int8.tflite").write_bytes(Convolution(output=INT8, input=INT8).model())
    two = Builder()
    inputs = [two.tensor((1, 3), FLOAT) for _ in range(2)]
    (tmp_path / "two.tflite").write_bytes(two.build(inputs, [two.add(*inputs)]))
    for arguments, told in (
        ([], "usage: run_model model.tflite"),
        (["absent.tflite"], "no such model"),
        (["int8.tflite"], "the model's input and output must be float32"),
        (["two.tflite"], "the model must have one input"),
    ):
        done = subprocess.run([program, *arguments], cwd=tmp_path, capture_output=True, text=True)
        assert (done.returncode, done.stdout) == (1, "")
        assert told in done.stderr


MAIN = """
import siman.runtime.SimanDelegate;

class Main {
  public static void main(String[] arguments) {
    org.tensorflow.lite.Delegate delegate = new SimanDelegate();
    System.out.println(delegate.getNativeHandle() != 0);
    delegate.close();
    delegate.close();
    try {
      delegate.getNativeHandle();
    } catch (IllegalStateException error) {
      System.out.println(error.getMessage());
    }
  }
}
"""
# As TensorFlow Lite has it.
DELEGATE = """
package org.tensorflow.lite;

public interface Delegate extends java.io.Closeable {
  long getNativeHandle();

  @Override
  default void close() {}
}
"""


@pytest.mark.parametrize("kernel", ["", "no-such"])
def test_program_in_java(kernel, tmp_path):
    needs("g++", "javac", "java")
    java = Path(shutil.which("javac")).resolve().parents[1] / "include"
    if not (java / "jni.h").exists():
        pytest.skip("jni.h is absent")
    glue = tmp_path / "libsiman_runtime.so"  # on Android one library with the delegate
    includes = [f"-I{INCLUDE}", f"-I{java}", f"-I{java / 'linux'}"]
    source = RUNTIME / "android" / "siman_delegate.cc"
    flags = ["-std=c++17", "-shared", "-fPIC", "-Wall", "-Wextra", "-Werror"]
    run("g++", *flags, *includes, source, LIBRARY, f"-Wl,-rpath,{LIBRARY.parent}", "-o", glue)
    for name, text in (("Main", MAIN), ("Delegate", DELEGATE)):
        (tmp_path / f"{name}.java").write_text(text)
    sources = [tmp_path / "Main.java", tmp_path / "Delegate.java"]
    run("javac", "-d", tmp_path, *sources, RUNTIME / "android" / "SimanDelegate.java")
    command = ["java", f"-Djava.library.path={tmp_path}", "-cp", str(tmp_path), "Main"]
    environment = os.environ | {"SIMAN_KERNEL": kernel}
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    if kernel:
        assert "SIMAN_KERNEL=no-such does not run on this processor" in done.stderr
        assert "IllegalStateException" in done.stderr
    else:
        assert done.stdout.splitlines() == ["true", "SimanDelegate is closed; make another."]


# Writes down what it is called with, and makes the file that it is asked for.
COMPILER = """#!/bin/sh
echo "$0 $*" >> {log}
while [ "$1" != -o ]; do shift; done
echo made > "$2"
"""


def test_android(tmp_path):
    ndk, log = tmp_path / "ndk", tmp_path / "log"
    folder = ndk / "toolchains" / "llvm" / "prebuilt" / "linux-x86_64" / "bin"
    folder.mkdir(parents=True)
    for machine in ("aarch64", "x86_64"):
        compiler = folder / f"{machine}-linux-android24-clang++"
        compiler.write_text(COMPILER.format(log=log))
        compiler.chmod(0o755)
    run(sys.executable, TOOLS / "android.py", ndk, tmp_path / "jniLibs")
    calls = log.read_text().splitlines()
    for abi, machine in (("arm64-v8a", "aarch64"), ("x86_64", "x86_64")):
        assert sorted(p.name for p in (tmp_path / "jniLibs" / abi).iterdir()) == [
            "libsiman_runtime.so"
        ]
        ours = [call.split() for call in calls if f"{machine}-linux-android24-clang++" in call]
        compiled = {Path(w).stem: c for c in ours for w in c if w.endswith(".cc")}
        sources = {path.stem for path in (RUNTIME / "src").glob("*.cc")}
        assert set(compiled) == sources | {"siman_delegate"}
        # Without the first, outputs would not be LCE's bit for bit.
        assert all("-ffp-contract=off" in c and "-O3" in c for c in compiled.values())
        assert ("-mavx512vpopcntdq" in compiled["kernel_avx512"]) == (machine == "x86_64")
        assert "-Wl,-z,max-page-size=16384" in ours[-1]


def test_android_without_an_ndk(tmp_path):
    command = [sys.executable, str(TOOLS / "android.py"), str(tmp_path), str(tmp_path / "out")]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 1
    assert f"{tmp_path} is no Android NDK" in done.stderr
    assert not (tmp_path / "out").exists()


@pytest.fixture
def mach_o(monkeypatch):
    monkeypatch.syspath_prepend(TOOLS)
    return importlib.import_module("mach_o")


def for_macos(output, *sources_and_flags):
    pytest.importorskip("ziglang")
    zig = [sys.executable, "-m", "ziglang", "c++", "-target", "aarch64-macos.11.0", "-shared"]
    run(*zig, *sources_and_flags, "-Wl,-x", "-o", output)
    return output.read_bytes()


@pytest.mark.slow
def test_macos(mach_o, tmp_path):
    """Of the sources those that ask for a system or a processor, and what they export."""
    flags = runpy.run_path(str(RUNTIME / "flags.py"))["FLAGS"]
    flags += ["-Werror", "-O0", "-Wl,-undefined,dynamic_lookup"]
    names = ("delegate", "kernel", "kernel_neon_dot", "thread_pool")
    made = for_macos(tmp_path / "a.dylib", *flags, *(RUNTIME / "src" / f"{n}.cc" for n in names))
    assert mach_o.fault(made, "11.0") == ""


def test_library_that_macos_would_not_load(mach_o, tmp_path):
    source = tmp_path / "a.c"
    source.write_text("void tflite_plugin_create_delegate(void) {}\n")
    made = for_macos(tmp_path / "a.dylib", "-xc", source)
    assert mach_o.fault(made, "11.0") == "does not export tflite_plugin_destroy_delegate"
    assert mach_o.fault(made, "10.15") == "needs macOS 11.0"
    ours = LIBRARY.read_bytes()
    assert mach_o.fault(ours, "11.0") == "is no dynamic library for 64-bit ARM"


def test_where_linux_is_missing(monkeypatch):
    monkeypatch.delattr(os, "sched_getaffinity")
    monkeypatch.setattr(os, "cpu_count", lambda: None)
    Interpreter(OP.model(), num_threads=None)
    monkeypatch.setattr(Path, "exists", lambda path: str(path) != "/proc/self/status")
    with pytest.raises(ValueError, match="isolated=True: its memory_limit needs Linux"):
        Interpreter(OP.model(), isolated=True)
