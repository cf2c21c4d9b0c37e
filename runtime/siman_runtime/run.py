"""`siman-run model.tflite image.png`: classifies pictures."""

import argparse
import time
from pathlib import Path

from siman_runtime.classifier import Classifier, add_arguments
from siman_runtime.commands import run_command
from siman_runtime.preparation import open_picture

__all__ = ["main"]


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="siman-run", description="Classifies pictures.")
    add_arguments(parser, threads=1)
    parser.add_argument("images", type=Path, nargs="+", help="pictures that Pillow reads")
    parser.add_argument("--top", type=int, default=5, help="classes to print (5)")
    return parser


def _classify(arguments: argparse.Namespace) -> None:
    if arguments.top < 1:
        raise ValueError(f"--top {arguments.top}: at least 1 is allowed.")
    classifier = Classifier(arguments)
    print(f"input prepared as in {classifier.preparation.source}")
    for path in arguments.images:
        values = classifier.prepared(open_picture(path))
        start = time.perf_counter()
        scores = classifier.scores(values)
        spent = time.perf_counter() - start
        print(f"\n{path} ({1000 * spent:.1f} ms)")
        for guess in classifier.best(scores, arguments.top):
            print(f"  {guess.text:>8}  {guess.label}")


def main(arguments: "list[str] | None" = None) -> None:
    """The command `siman-run`."""
    run_command(_parser(), _classify, arguments)


if __name__ == "__main__":
    main()
