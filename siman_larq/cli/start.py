"""What commands have in common."""

import contextlib
import os
from collections.abc import Iterator

import click

from siman_larq import __version__

__all__ = ["SETTINGS", "one_sentence", "start", "version"]

version = click.version_option(__version__, prog_name="siman-larq")
SETTINGS = {"show_default": True, "help_option_names": ["-h", "--help"]}


def start() -> None:
    """Imports TensorFlow, quietly, and registers this package's classes with Keras."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    with one_sentence(ImportError):
        import siman_larq

        siman_larq.register()


@contextlib.contextmanager
def one_sentence(*errors: type[Exception]) -> Iterator[None]:
    """Ends the command with the error's message alone, and status 1."""
    try:
        yield
    except errors as error:
        raise click.ClickException(str(error)) from error
