"""`siman-camera model.tflite`: a page with what a camera sees, and what a model sees in it."""

import argparse
import asyncio

from siman_runtime.classifier import Classifier, add_arguments
from siman_runtime.commands import run_command
from siman_runtime.frames import absent
from siman_runtime.watching import Watcher

__all__ = ["main"]


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="siman-camera", description="Shows what a model sees, on a page."
    )
    add_arguments(parser, threads=None)
    parser.add_argument(
        "--camera", default="0", help="number of a camera, video file or folder of pictures (0)"
    )
    parser.add_argument("--port", type=int, default=8000, help="of the page; 0 takes any (8000)")
    parser.add_argument(
        "--host", default="127.0.0.1", help="0.0.0.0 shows it to other machines (127.0.0.1)"
    )
    return parser


def _watch(arguments: argparse.Namespace) -> None:
    if not 0 <= arguments.port < 65536:
        raise ValueError(f"--port {arguments.port}: 0 to 65535 is allowed.")
    try:
        from siman_runtime.page import serve
    except ImportError:
        raise absent("Tornado") from None
    classifier = Classifier(arguments)
    print(f"input prepared as in {classifier.preparation.source}")
    asyncio.run(
        serve(
            arguments.host,
            arguments.port,
            lambda show: Watcher(classifier, arguments.camera, show),
        )
    )


def main(arguments: "list[str] | None" = None) -> None:
    """The command `siman-camera`."""
    run_command(_parser(), _watch, arguments)


if __name__ == "__main__":
    main()
