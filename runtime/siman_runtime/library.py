"""The native library: a TensorFlow Lite external delegate, and some functions of its own."""

import ctypes
import functools
import importlib.metadata
import os
import re
import sys
from pathlib import Path
from typing import Any

import numpy as np

from siman_runtime import self_test
from siman_runtime.errors import LibraryError

__all__ = [
    "LITERT_LOWEST",
    "LITERT_NEXT",
    "delegate",
    "kernel_name",
    "last_error",
    "peak_bits_per_second",
    "profile",
    "profiled",
    "trace",
    "traced",
]

LITERT_LOWEST = (1, 1, 2)
"""The first version of ai-edge-litert that works."""

LITERT_NEXT = (2, 4)
"""The first that has not been seen; what it computes is tested in a process of its own."""

_IS_MAC = sys.platform == "darwin"
_NAME = "libsiman_runtime.dylib" if _IS_MAC else "libsiman_runtime.so"
_COMPILER = (
    "macOS: xcode-select --install" if _IS_MAC else "Debian, Raspberry Pi OS: sudo apt install g++"
)


def _version(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", text)[:3])


def _wanted() -> str:
    lowest, beyond = (".".join(map(str, version)) for version in (LITERT_LOWEST, LITERT_NEXT))
    return f'"ai-edge-litert>={lowest},<{beyond}"'


def _check_litert() -> str:
    """The version of ai-edge-litert; raises `LibraryError` if there is none, or an old one."""
    try:
        found = importlib.metadata.version("ai-edge-litert")
    except importlib.metadata.PackageNotFoundError:
        raise LibraryError(f"ai-edge-litert is not installed: pip install {_wanted()}") from None
    if _version(found) < LITERT_LOWEST:
        raise LibraryError(
            f"ai-edge-litert {found} is older than all that siman-runtime knows: pip install "
            f"{_wanted()}"
        )
    return found


@functools.cache
def _check_ops(path: Path, kernel: str, litert: str) -> None:
    """Raises `LibraryError` if ops do not compute what they must. The kernel is a new question."""
    is_known = _version(litert) < LITERT_NEXT and not _IS_MAC  # where nothing has been seen
    fault = self_test.fault(path) if is_known else self_test.fault_apart(path)
    if fault:
        raise LibraryError(
            f"ai-edge-litert {litert} does not run siman-runtime's ops ({kernel}) as it must: "
            f"{fault}: pip install --force-reinstall siman-runtime {_wanted()}"
        )


def _path() -> Path:
    path = Path(os.environ.get("SIMAN_LIBRARY") or Path(__file__).with_name(_NAME))
    if not path.exists():
        raise LibraryError(
            f"siman-runtime's native library is absent ({path}): it was installed from source "
            f"where no C++ compiler was found. Install one ({_COMPILER}) and then: pip install "
            "--force-reinstall --no-cache-dir siman-runtime"
        )
    return path


@functools.lru_cache(maxsize=1)
def _library() -> ctypes.CDLL:
    path = _path()
    try:
        library = ctypes.CDLL(str(path))
    except OSError as error:
        raise LibraryError(
            f"{path} cannot be loaded here ({error}): it was built for another system. Install "
            "siman-runtime again with pip on this machine."
        ) from error
    try:
        library.siman_kernel_name.restype = ctypes.c_char_p
        library.siman_last_error.restype = ctypes.c_char_p
        library.siman_peak_bits_per_second.restype = ctypes.c_double
        library.siman_takes_blocks.restype = ctypes.c_int
        library.siman_profile.argtypes = [ctypes.c_bool]
        library.siman_profile_text.restype = ctypes.c_size_t
        library.siman_profile_text.argtypes = [ctypes.c_char_p, ctypes.c_size_t]
        library.siman_trace.argtypes = [ctypes.c_bool]
        library.siman_traced.restype = ctypes.c_size_t
        pointers = [ctypes.POINTER(ctypes.c_int)] * 3
        library.siman_traced_input.argtypes = [ctypes.c_size_t, *pointers]
        library.siman_traced_input.restype = ctypes.POINTER(ctypes.c_int32)
    except AttributeError as error:
        raise LibraryError(f"{path} is not siman-runtime's native library ({error}).") from error
    return library


def last_error() -> str:
    """Text of the last error in the native library on this thread."""
    return _library().siman_last_error().decode(errors="replace")


def kernel_name() -> str:
    """The instruction set in use: `"avx512"`, `"avx512bw"`, `"avx2"`, `"neondot"`, `"neon"` or
    `"portable"`.

    # Raises
        LibraryError: If the environment variable SIMAN_KERNEL names one that does not run here.
    """
    name = _library().siman_kernel_name()
    if name is None:
        raise LibraryError(last_error())
    return name.decode()


def peak_bits_per_second() -> float:
    """Bits that one core counts per second if it does nothing else; measured now."""
    kernel_name()
    return _library().siman_peak_bits_per_second()


def profile(on: bool) -> None:
    """Starts or stops timing the ops of this process, and forgets all times."""
    _library().siman_profile(on)


def profiled() -> "list[tuple[int, str, str, float]]":
    """(tensor, op, output dimensions, seconds) of all ops since `profile(True)`, in their order."""
    size = _library().siman_profile_text(None, 0)
    text = ctypes.create_string_buffer(size)
    _library().siman_profile_text(text, size)
    rows = [line.split("\t") for line in text.value.decode().splitlines()]
    return [(int(tensor), op, dims, int(ns) / 1e9) for tensor, op, dims, ns in rows]


def trace(on: bool) -> None:
    """Starts or stops keeping the bits that go into what this thread runs."""
    _library().siman_trace(on)


def traced() -> "list[tuple[int, np.ndarray]]":
    """(operator, bits) of what this thread ran since `trace(True)`."""
    found = []
    for index in range(_library().siman_traced()):
        node, rank, dims = ctypes.c_int(), ctypes.c_int(), (ctypes.c_int * 6)()
        words = _library().siman_traced_input(index, node, rank, dims)
        found.append((node.value, np.ctypeslib.as_array(words, tuple(dims[: rank.value])).copy()))
    return found


def delegate() -> Any:
    """The delegate, for people who drive `ai_edge_litert.interpreter.Interpreter` themselves.

    !!! example
        ```python
        interpreter = ai_edge_litert.interpreter.Interpreter(
            "model.tflite", experimental_delegates=[siman_runtime.delegate()], num_threads=4
        )
        ```

    # Returns
        What `ai_edge_litert.interpreter.load_delegate` returns.

    # Raises
        LibraryError: If the native library or ai-edge-litert is absent or unfit, or the environment
            variable SIMAN_FUSE is neither 0 nor 1.
    """
    litert = _check_litert()
    path = _path()
    kernel = kernel_name()
    if _library().siman_takes_blocks() < 0:
        raise LibraryError(last_error())
    _check_ops(path, kernel, litert)
    from ai_edge_litert.interpreter import load_delegate

    return load_delegate(str(path))
