"""What commands have in common."""

import contextlib
import os
import warnings
from collections.abc import Iterator
from typing import Any

import click

from siman_larq import __version__

__all__ = ["SETTINGS", "one_sentence", "start", "version"]

version = click.version_option(__version__, prog_name="siman-larq")
SETTINGS = {"show_default": True, "help_option_names": ["-h", "--help"]}


def start() -> None:
    """Imports TensorFlow, quietly, and registers this package's classes with Keras."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    warnings.showwarning = _show_warning
    with one_sentence(ImportError):
        import siman_larq

        siman_larq.register()


def _show_warning(message: Warning | str, *_: Any, **__: Any) -> None:
    click.echo(f"Warning: {message}", err=True)


@contextlib.contextmanager
def one_sentence(*errors: type[Exception]) -> Iterator[None]:
    """Ends the command with the error's message alone, and status 1."""
    try:
        yield
    except errors as error:
        raise click.ClickException(str(error)) from error
