"""Programs in processes of their own, which find the modules that this one finds."""

import signal
import sys

__all__ = ["command", "death"]


def command(program: str, *arguments: str) -> "list[str]":
    """What starts a Python program, which is given as its text.

    # Arguments
        program: Its statements.
        arguments: Its `sys.argv[1:]`.
    """
    found = [entry for entry in sys.path if isinstance(entry, str)]
    return [sys.executable, "-c", f"import sys; sys.path[:] = {found!r}; {program}", *arguments]


def death(code: int) -> str:
    """How a process ended, by its return code."""
    if code >= 0:
        return f"ended with exit code {code}"
    try:
        name = signal.Signals(-code).name
    except ValueError:
        name = f"signal {-code}"
    if -code == signal.SIGKILL:
        return f"was killed from outside ({name}), as systems do when memory runs out"
    if -code in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        return f"was ended from outside ({name})"
    return f"crashed ({name})"
