"""What a command line does with a run."""

import os
import shlex
import sys
from collections.abc import Callable
from pathlib import Path

import click
import tensorflow as tf

from siman_larq.files import first_line
from siman_larq.training.distribution import devices
from siman_larq.training.run import Run

__all__ = ["carry_out"]

_INTERRUPTED = 130
_MOST_RESTARTS = 20
_RESTARTS = "SIMAN_LARQ_RESTARTS"


def carry_out(make_run: Callable[[], Run], again: Callable[[Path], list[str]]) -> None:
    """Makes a run and carries it out, and says in a line what went wrong and how to go on.

    # Arguments
        make_run: Makes the run.
        again: From the run's folder the arguments of this program that go on with the run.
    """
    try:
        run = make_run()
    except ValueError as error:
        raise click.ClickException(str(error)) from error
    except OSError as error:
        raise click.ClickException(f"{_reason(error)}. Nothing was started.") from error
    click.echo(f"run folder: {run.folder}\ndata: {run.images.source}")
    click.echo(f"devices: {devices(run.strategy)}")
    command = shlex.join([*_this_program(), *again(run.folder)])
    try:
        click.echo(run.carry_out())
    except KeyboardInterrupt:
        click.echo(f"\nInterrupted. To go on: {command}")
        sys.exit(_INTERRUPTED)
    except tf.errors.DataLossError as error:
        raise click.ClickException(f"A file of {run.images.source} is damaged: {error}") from error
    except tf.errors.OpError as error:
        if isinstance(run.strategy, tf.distribute.MultiWorkerMirroredStrategy):
            _start_again(error)
        reason = first_line(error)
        if "OOM" in reason:
            raise click.ClickException(
                f"The device's memory is full ({reason}); start anew with a smaller --batch-size."
            ) from error
        if str(run.folder) not in str(error):
            raise
        raise click.ClickException(_kept(reason, run.folder, command)) from error
    except OSError as error:
        raise click.ClickException(_kept(_reason(error), run.folder, command)) from error
    except (FloatingPointError, ValueError) as error:
        raise click.ClickException(str(error)) from error
    click.echo(f"run folder: {run.folder}")


def _kept(reason: str, folder: Path, command: str) -> str:
    return (
        f"{reason}. What {folder} held before is kept; when the cause is mended, go on: {command}"
    )


def _reason(error: OSError) -> str:
    """What the operating system, or this package, says of a file."""
    if error.strerror is None:
        return str(error).rstrip(".")
    return f"{error.filename}: {error.strerror}" if error.filename else error.strerror


def _this_program() -> list[str]:
    """What this process was started with, before its arguments."""
    given = sys.orig_argv[1 : len(sys.orig_argv) - len(sys.argv[1:])]
    # An installed command brings its interpreter itself.
    is_command = given == sys.argv[:1] and not given[0].endswith(".py")
    return given if is_command else [sys.executable, *given]


def _start_again(error: tf.errors.OpError) -> None:
    """Replaces this worker by a new one, which waits for the others and goes on with the run."""
    restarts = int(os.environ.get(_RESTARTS, 0)) + 1
    if restarts > _MOST_RESTARTS:
        raise error
    reason = str(error).splitlines()[0]
    click.echo(
        f"Another worker is gone ({reason}). Starting again from the last checkpoint; start the "
        f"lost worker again with the same command. Restart {restarts} of {_MOST_RESTARTS}."
    )
    sys.stdout.flush()
    os.environ[_RESTARTS] = str(restarts)
    os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])
