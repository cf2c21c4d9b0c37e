"""What commands have in common."""

import contextlib
import os
import re
import warnings
from collections.abc import Iterator
from functools import partial
from typing import Any

import click

from siman_larq import __version__

__all__ = ["SETTINGS", "one_sentence", "start", "typed_options", "version"]

version = click.version_option(__version__, prog_name="siman-larq")
SETTINGS = {"show_default": True, "help_option_names": ["-h", "--help"]}


def start() -> None:
    """Imports TensorFlow, quietly, and registers this package's classes with Keras."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    warnings.showwarning = _show_warning
    with one_sentence(ImportError):
        import siman_larq

        siman_larq.register()


def typed_options(context: click.Context, *besides: str) -> list[str]:
    """The options on the command line, as `--epochs`, but for those of the names `besides`."""
    typed = click.core.ParameterSource.COMMANDLINE
    return [
        option.opts[-1]
        for option in context.command.params
        if isinstance(option, click.Option)
        and option.name not in besides
        and context.get_parameter_source(str(option.name)) is typed
    ]


def _show_warning(message: Warning | str, *_: Any, **__: Any) -> None:
    click.echo(f"Warning: {_in_options(str(message))}", err=True)


@contextlib.contextmanager
def one_sentence(*errors: type[Exception]) -> Iterator[None]:
    """Ends the command with the error's message alone, and status 1."""
    try:
        yield
    except errors as error:
        raise click.ClickException(_in_options(str(error))) from error


def _in_options(message: str) -> str:
    """A message of the API in the words of the command that runs, so that its cure can be typed."""
    context = click.get_current_context(silent=True)
    for option in context.command.params if context else []:
        flag = option.opts[-1]
        name = rf"(?<![\w./-]){option.name}"  # not within a path
        if not flag.startswith("--"):
            continue
        message = re.sub(rf"{name}=\[([^]]*)\]", partial(_each, flag), message)
        message = re.sub(rf"{name}=(['\"]?)([\w.]+)\1", rf"{flag} \2", message)
        if "_" in option.name:
            message = re.sub(rf"{name}(?![\w./-])", flag, message)
    return message


def _each(flag: str, names: re.Match) -> str:
    return " ".join(f"{flag} {name}" for name in names[1].replace("'", "").split(", "))
