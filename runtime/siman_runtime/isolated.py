"""A model in a process of its own, which may crash, hang or fill the memory."""

import math
import os
import re
import socket
import struct
import subprocess
import threading
import time
import weakref
from multiprocessing.connection import Connection
from numbers import Real
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

import numpy as np

from siman_runtime.engine import Details, Shapes, Traced, Values
from siman_runtime.errors import EndedError, ModelError
from siman_runtime.process import command, death

__all__ = ["MEBIBYTES", "SECONDS", "IsolatedEngine", "Limits"]

_PROGRAM = (
    "import signal; signal.signal(signal.SIGINT, signal.SIG_IGN); "
    "from siman_runtime.worker import serve; serve(int(sys.argv[1]))"
)
SECONDS = 60.0
MEBIBYTES = 2048
_LOOK_EVERY = 0.01  # seconds, at time and memory


class Limits(NamedTuple):
    """What a process may take."""

    seconds: float  # for each step: to load, to resize, to run once
    mebibytes: float

    @classmethod
    def of(cls, time_limit: "float | None", memory_limit: "float | None") -> "Limits":
        """Those that are given, or else 60 s, and 2 GiB or half of this machine's memory."""
        half = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**21
        limits = cls(
            SECONDS if time_limit is None else time_limit,
            min(MEBIBYTES, half) if memory_limit is None else memory_limit,
        )
        for name, unit, value in zip(("time", "memory"), ("seconds", "MiB"), limits, strict=True):
            is_number = isinstance(value, Real) and not isinstance(value, bool)
            if not is_number or not 0 < value < math.inf:
                raise ValueError(f"{name}_limit={value!r}: a number of {unit} above 0 is allowed.")
        return limits


class IsolatedEngine:
    """An `Engine` in a process of its own: the same calls, with the same results.

    Calls raise `EndedError` once that process is dead, and say what of.

    # Arguments
        limits: What the process may take.
        arguments: Of the `Engine`.
    """

    def __init__(self, limits: Limits, *arguments: Any) -> None:
        if not Path("/proc/self/status").exists():
            raise ValueError(
                "isolated=True: its memory_limit needs Linux's /proc, which is absent here; on "
                "this system run only files that you trust, without isolated."
            )
        self._limits = limits
        self._ended: Exception | None = None
        self._lock = threading.Lock()  # between what is sent and what comes back
        here, there = socket.socketpair()
        with there:
            try:
                self._process = subprocess.Popen(
                    command(_PROGRAM, str(there.fileno())),
                    stdin=subprocess.PIPE,  # held open: see worker.py
                    pass_fds=[there.fileno()],
                )
            except OSError as error:
                raise OSError(
                    f"isolated=True: its process cannot be started ({error.strerror}): end other "
                    "programs first."
                ) from error
        # A process that is stopped neither takes nor gives.
        wait = struct.pack("ll", math.ceil(min(limits.seconds, 1e9)), 0)
        for option in (socket.SO_SNDTIMEO, socket.SO_RCVTIMEO):
            here.setsockopt(socket.SOL_SOCKET, option, wait)
        self._connection: Connection[Any, Any] = Connection(here.detach())
        self._end = weakref.finalize(self, _end, self._process, self._connection)
        _living.add(self)
        self.details: Details
        try:
            self._call("load", *arguments)
        except BaseException:
            self._end()
            raise

    @property
    def litert(self) -> NoReturn:
        raise ValueError("litert: it is in a process of its own; leave isolated=True away.")

    def close(self) -> None:
        if self._ended is None:
            with self._lock:
                self._stop(ValueError("The interpreter is closed."))

    def resize(self, shapes: Shapes) -> None:
        self._call("resize", shapes)

    def run(self, values: Values) -> "tuple[Values, Traced]":
        result: tuple[Values, Traced] = self._call("run", values)
        return result

    def signature(self, key: str) -> "tuple[dict[str, Any], dict[str, Any]]":
        result: tuple[dict[str, Any], dict[str, Any]] = self._call("signature", key)
        return result

    def run_signature(self, key: str, values: "dict[str, np.ndarray]") -> "dict[str, np.ndarray]":
        return dict(self._call("run_signature", key, values))

    def _call(self, name: str, *arguments: Any) -> Any:
        self._check_alive()  # first of all, since after a fork the lock may be another's
        with self._lock:
            self._check_alive()
            try:
                self._connection.send((name, arguments))
                result, details = self._receive()
            except (ModelError, EOFError, OSError) as error:
                self._stop(EndedError(self._why(error)))
            except BaseException:
                # What came back now would be taken for the next call's.
                self._stop(EndedError("The model's process was ended in the midst of a call."))
                raise
            self._check_alive()
            if details is not None:
                self.details = details
        if isinstance(result, Exception):
            raise result
        return result

    def _receive(self) -> Any:
        end = time.monotonic() + self._limits.seconds
        while not self._connection.poll(_LOOK_EVERY):
            self._check_memory()
            if time.monotonic() > end:
                raise BlockingIOError
        received = self._connection.recv()
        self._check_memory()
        return received

    def _check_memory(self) -> None:
        if _mebibytes(self._process.pid) > self._limits.mebibytes:
            raise ModelError(
                f"The model's process took more than {self._limits.mebibytes:.0f} MiB of memory "
                "(memory_limit) and was ended: allow more if you trust the file."
            )

    def _why(self, error: Exception) -> str:
        """Why there is no process any more, which is what later calls say."""
        if isinstance(error, ModelError):
            return str(error)
        if isinstance(error, BlockingIOError):
            return (
                f"The model's process took longer than {self._limits.seconds:g} s (time_limit) "
                "and was ended: allow more if you trust the file."
            )
        try:
            how = death(self._process.wait(timeout=5))
        except subprocess.TimeoutExpired:
            how = "closed its connection"
        return f"The model's process {how}."

    def _stop(self, reason: Exception) -> None:
        self._ended = reason
        self._end()

    def _check_alive(self) -> None:
        if self._ended is not None:
            # A new one for each call, which gets a traceback of its own.
            raise type(self._ended)(str(self._ended))

    def forget(self) -> None:
        """In a forked child, whose parent goes on with the process."""
        self._ended = ValueError(
            "An isolated interpreter belongs to the process that made it: make one after the fork."
        )
        self._end.detach()
        _close(self._process, self._connection)


_living: "weakref.WeakSet[IsolatedEngine]" = weakref.WeakSet()


def _forget_all() -> None:
    for engine in list(_living):
        engine.forget()


os.register_at_fork(after_in_child=_forget_all)


def _mebibytes(pid: int) -> float:
    """The most memory that a process has had at a time; 0 if it is gone."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return 0.0
    return sum(int(kib) for kib in re.findall(r"Vm(?:HWM|Swap):\s*(\d+)", status)) / 1024


def _close(process: "subprocess.Popen[bytes]", connection: "Connection[Any, Any]") -> None:
    connection.close()
    assert process.stdin is not None
    process.stdin.close()


def _end(process: "subprocess.Popen[bytes]", connection: "Connection[Any, Any]") -> None:
    process.kill()
    process.wait()
    _close(process, connection)
