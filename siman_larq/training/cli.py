"""What a command line does with a run."""

import os
import shlex
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

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
    with _interrupts() as interrupts:
        try:
            click.echo(run.carry_out())
        except (KeyboardInterrupt, Exception) as error:
            is_plain = isinstance(error, KeyboardInterrupt)
            if not (is_plain or interrupts):
                _explain(error, run, command)
                raise
            other = "" if is_plain else f" ({type(error).__name__}: {first_line(error)})"
            click.echo(f"\nInterrupted{other}. To go on: {command}")
            sys.exit(_INTERRUPTED)
    click.echo(f"run folder: {run.folder}")


@contextmanager
def _interrupts() -> Iterator[list[int]]:
    """The interrupts that came in the body: a library may make another error of one.

    Where interrupts are ignored or have a handler already, this is left so, and none is told.
    """
    came: list[int] = []

    def note(number: int, frame: FrameType | None) -> None:
        came.append(number)
        signal.default_int_handler(number, frame)

    is_main = threading.current_thread() is threading.main_thread()
    if not is_main or signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        yield came
        return
    signal.signal(signal.SIGINT, note)
    try:
        yield came
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def _explain(error: BaseException, run: Run, command: str) -> None:
    """Raises, or does, what a person needs in place of an error; nothing if that is unknown."""
    if isinstance(error, tf.errors.DataLossError):
        raise click.ClickException(f"A file of {run.images.source} is damaged: {error}") from error
    if isinstance(error, tf.errors.OpError):
        if isinstance(run.strategy, tf.distribute.MultiWorkerMirroredStrategy):
            _start_again(error)
        reason = first_line(error)
        if "OOM" in reason:
            raise click.ClickException(
                f"The device's memory is full ({reason}); start anew with a smaller --batch-size."
            ) from error
        if str(run.folder) in str(error):
            raise click.ClickException(_kept(reason, run.folder, command)) from error
    elif isinstance(error, OSError):
        raise click.ClickException(_kept(_reason(error), run.folder, command)) from error
    elif isinstance(error, (FloatingPointError, ValueError)):
        raise click.ClickException(str(error)) from error


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
