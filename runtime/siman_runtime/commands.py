"""What the commands share: errors are a line on standard error, not a traceback."""

import argparse
import io
import sys
from collections.abc import Callable
from typing import Any

from siman_runtime.isolated import MEBIBYTES, SECONDS

__all__ = ["add_isolation", "isolation", "run_command", "sentence"]


def run_command(
    parser: argparse.ArgumentParser,
    body: Callable[[argparse.Namespace], None],
    arguments: "list[str] | None",
) -> None:
    """Parses arguments (of the process if `None`), calls `body`, exits with what it raises."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # names of classes, on any terminal
    try:
        body(parser.parse_args(arguments))
    except (ValueError, OSError, ImportError, MemoryError) as error:
        sys.exit(f"{parser.prog}: {sentence(error)}")
    except KeyboardInterrupt:
        sys.exit(130)  # as shells count an interrupted program


def sentence(error: Exception) -> str:
    """What an error says, in one line; of kinds that are not meant for people, with the kind."""
    text = " ".join(str(error).split())
    if isinstance(error, MemoryError):
        return text or "out of memory"
    is_meant = isinstance(error, (ValueError, OSError, ImportError))
    return text if is_meant else f"{type(error).__name__}: {text}"


def add_isolation(parser: argparse.ArgumentParser, told: str) -> None:
    """`--isolated`, of which the help says what is told, and its limits."""
    parser.add_argument("--isolated", action="store_true", help=told)
    for name, unit, limit in (("time", "seconds", SECONDS), ("memory", "MiB", MEBIBYTES)):
        told = f"of --isolated, in {unit} ({limit:g})"
        parser.add_argument(f"--{name}-limit", type=float, metavar=unit.upper(), help=told)


def isolation(arguments: argparse.Namespace) -> "dict[str, Any]":
    """What they say, as arguments of an `Interpreter`; raises `ValueError` for limits alone."""
    limits = {name: getattr(arguments, name) for name in ("time_limit", "memory_limit")}
    for name, value in limits.items():
        if value is not None and not arguments.isolated:
            flag = name.replace("_", "-")
            raise ValueError(f"--{flag} {value:g} needs --isolated: it limits that process alone.")
    return {"isolated": arguments.isolated, **limits}
