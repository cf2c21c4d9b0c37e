"""The other end of an `IsolatedEngine`: an `Engine` that does what it is told over a connection."""

import contextlib
import fcntl
import os
import resource
import signal
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from siman_runtime.engine import Engine
from siman_runtime.errors import LibraryError, ModelError

__all__ = ["serve"]


def serve(descriptor: int) -> None:
    """Carries out calls until their caller is gone; the first makes the engine.

    # Arguments
        descriptor: Of the connection over which they come, and results go.
    """
    _end_with_caller()
    connection: Connection[Any, Any] = Connection(descriptor)
    engine, told = None, None
    with contextlib.suppress(EOFError, OSError):
        while True:
            name, arguments = connection.recv()
            result = None
            try:
                if engine is None:
                    engine = Engine(*arguments)
                else:
                    result = getattr(engine, name)(*arguments)
            except Exception as error:
                result = _plain(error)
            details = engine.details if engine else None
            connection.send((result, None if details is told else details))
            told = details
    os._exit(0)  # without waiting for threads


def _plain(error: Exception) -> Exception:
    """Without what cannot be sent."""
    kinds = (ModelError, LibraryError, ValueError, MemoryError)
    if type(error) in kinds:
        return type(error)(str(error))
    return ModelError(f"{type(error).__name__}: {error}")


def _end_with_caller() -> None:
    """Standard input is a pipe that nobody writes to: the kernel ends this process when the caller
    is gone, in whatever it is, which no thread of Python could."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # an interrupt is the caller's
    signal.signal(signal.SIGIO, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGIO])
    fcntl.fcntl(0, fcntl.F_SETOWN, os.getpid())
    fcntl.fcntl(0, fcntl.F_SETFL, fcntl.fcntl(0, fcntl.F_GETFL) | os.O_ASYNC)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    with contextlib.suppress(OSError):  # where memory is short it goes first
        Path("/proc/self/oom_score_adj").write_text("1000")
