"""Run folders: whose they are, and that one process alone writes into one."""

import errno
import os
import re
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from siman_larq.choices import FOLDER
from siman_larq.files import PARTIAL
from siman_larq.training import checkpoints
from siman_larq.training.recipe import Recipe

__all__ = [
    "CHECKPOINTS",
    "HISTORY",
    "INPUT",
    "RECIPE",
    "FolderBusyError",
    "check_folder",
    "claimed",
    "differences",
    "epochs_done",
    "new_folder",
]

CHECKPOINTS = "checkpoints"
HISTORY = "history.csv"
INPUT = "input.json"
RECIPE = "recipe.json"
_LOCK = ".siman-larq.lock"
_LONGEST = 60


class FolderBusyError(ValueError):
    """Another process is at work in a run folder."""


def differences(kept: Mapping[str, Any], now: Mapping[str, Any]) -> str:
    """Of settings by name those that are not the same any more; empty if all are."""
    return ", ".join(
        f"{name}={kept.get(name)!r}, not {value!r}"
        for name, value in now.items()
        if kept.get(name) != value
    )


def new_folder(recipe: Recipe, parent: Path) -> Path:
    """Makes a run folder with a name of its own, and puts the recipe in."""
    _check_name(parent)
    stamp = time.strftime("%Y%m%d-%H%M%S")
    is_folder = recipe.dataset.startswith(FOLDER)
    named = os.path.basename(recipe.dataset) if is_folder else recipe.dataset
    dataset = re.sub(r"[^\w.]+", "_", named)[-_LONGEST:]
    name = f"{recipe.model}-{dataset}-seed{recipe.seed}-{stamp}"
    for suffix in ["", *(f"-{n}" for n in range(2, 100))]:
        folder = parent / (name + suffix)
        try:
            folder.mkdir(parents=True)
        except FileExistsError:
            if folder.is_dir():
                continue
            raise
        recipe.save(folder / RECIPE)
        return folder
    raise FileExistsError(f"{parent / name} and 98 more exist; give another --output-dir.")


def check_folder(folder: Path) -> bool:
    """Whether a run is in a folder, so that nobody else's files come to lie among those of a run.

    # Raises
        ValueError: when something else is.
    """
    _check_name(folder)
    if (folder / RECIPE).is_file():
        return True
    if not folder.exists():
        return False
    if not folder.is_dir():
        raise ValueError(f"{folder} is a file; give a new folder, an empty one or a run folder.")
    others = sorted(name for name in os.listdir(folder) if name not in (_LOCK, RECIPE + PARTIAL))
    if others:
        shown = ", ".join(others[:3]) + (", ..." if len(others) > 3 else "")
        raise ValueError(
            f"{folder} holds other files ({shown}) and no run; give a new folder, an empty one or "
            "a run folder."
        )
    return False


def _check_name(folder: Path) -> None:
    try:
        str(folder.absolute()).encode()
    except UnicodeEncodeError as error:
        raise ValueError(
            f"The name {os.fsencode(folder)!r} is not in UTF-8, which TensorFlow cannot read; give "
            "another folder."
        ) from error


def epochs_done(folder: Path) -> int:
    """How many epochs the newest readable checkpoint of a run folder holds; makes no tensors."""
    newest = checkpoints.newest_readable(folder / CHECKPOINTS)
    return newest.epochs_done if newest else 0


@contextmanager
def claimed(folder: Path) -> Iterator[None]:
    """Keeps other processes out of a run folder, and clears what a killed one was writing.

    # Raises
        FolderBusyError: when another process has the folder.
    """
    lock = _locked(folder)
    try:
        for path in list(folder.iterdir()):
            if path.name.endswith((PARTIAL, PARTIAL + ".keras")) and not path.is_dir():
                path.unlink()
        for path in folder.glob("tensorboard/*/events.out.tfevents.*"):
            if not path.stat().st_size:  # It was just begun.
                path.unlink()
        checkpoints.clear(folder / CHECKPOINTS)
        yield
    finally:
        (folder / _LOCK).unlink(missing_ok=True)
        lock.close()


def _locked(folder: Path) -> IO[str]:
    """A file whose lock the kernel gives back when this process ends, however it ends."""
    while True:
        lock = open(folder / _LOCK, "a+")  # noqa: SIM115
        if sys.platform == "win32":
            return lock
        import fcntl

        try:
            # Unlike flock's, it does not stay with children that outlive this process.
            fcntl.lockf(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno in (errno.ENOLCK, errno.ENOTSUP, errno.ENOSYS):
                return lock  # A file system without locks.
            lock.close()
            raise FolderBusyError(
                f"Another process is at work in {folder}; wait for it, or give another folder."
            ) from error
        # Whoever had it may have deleted it while it was opened here.
        if _is_file(folder / _LOCK, lock):
            return lock
        lock.close()


def _is_file(path: Path, opened: IO[str]) -> bool:
    try:
        return os.path.samestat(path.stat(), os.fstat(opened.fileno()))
    except FileNotFoundError:
        return False
