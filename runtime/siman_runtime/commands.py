"""What the commands share: errors are a line on standard error, not a traceback."""

import argparse
import io
import sys
from collections.abc import Callable

__all__ = ["run_command"]


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
