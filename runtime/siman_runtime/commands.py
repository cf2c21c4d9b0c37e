"""What the commands share: errors are a line on standard error, not a traceback."""

import argparse
import io
import sys
from collections.abc import Callable
from typing import Any

from siman_runtime.isolated import MEBIBYTES, SECONDS

__all__ = ["add_isolation", "isolation", "run_command"]


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
        sys.exit(f"{parser.prog}: {str(error) or 'out of memory'}")
    except KeyboardInterrupt:
        sys.exit(130)  # as shells count an interrupted program


def add_isolation(parser: argparse.ArgumentParser, told: str) -> None:
    """`--isolated`, of which the help says what is told, and its limits."""
    parser.add_argument("--isolated", action="store_true", help=told)
    for name, unit, limit in (("time", "seconds", SECONDS), ("memory", "MiB", MEBIBYTES)):
        told = f"of --isolated, in {unit} ({limit:g})"
        parser.add_argument(f"--{name}-limit", type=float, metavar=unit.upper(), help=told)


def isolation(arguments: argparse.Namespace) -> "dict[str, Any]":
    """What they say, as arguments of an `Interpreter`."""
    return {name: getattr(arguments, name) for name in ("isolated", "time_limit", "memory_limit")}
