"""The checkpoints in a run folder, as files: which of them can be read, and which must go.

TensorFlow's own bookkeeping takes `[ ] * ? \\` in a folder's name for wildcards: it then finds no
checkpoint, and deletes those of other folders. Here names are compared as they are.
"""

import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import tensorflow as tf

from siman_larq.files import PARTIAL, first_line, write_atomically

__all__ = ["Newest", "clear", "keep_newest", "literal", "newest_readable", "prefix", "write"]

_KEPT = 2
_STATE = "checkpoint"
_FILE = re.compile(r"ckpt-(\d+)\.(?:index|data-\d{5}-of-\d{5})")
_WRITING = re.compile(r"ckpt-(\d+)_temp")
# What writing leaves when it is killed: TensorFlow's names, and those of other workers.
_LEFT_OVER = re.compile(
    rf"ckpt-\d+_temp|ckpt-\d+\.index\.tempstate.*|{_STATE}\.tmp.*|worker-.*_temp|.*\{PARTIAL}"
)
_EPOCHS_DONE = "epochs_done/.ATTRIBUTES/VARIABLE_VALUE"


@dataclass(frozen=True)
class Newest:
    """The newest checkpoint that can be read.

    # Attributes
        name: Its name within the folder.
        epochs_done: How many epochs were trained.
        warnings: One sentence for each newer one that cannot be read.
    """

    name: str
    epochs_done: int
    warnings: list[str] = field(default_factory=list)


def prefix(number: int) -> str:
    """The name of the checkpoint after so many epochs, as TensorFlow takes it."""
    return f"ckpt-{number}"


@contextmanager
def literal(folder: Path) -> Iterator[Path]:
    """Another path to a folder, for functions of TensorFlow that take wildcards in its name."""
    if not re.search(r"[\[\]*?\\]", str(folder.resolve())):
        yield folder
        return
    with tempfile.TemporaryDirectory(prefix="siman-larq-") as parent:
        alias = Path(parent) / "folder"
        alias.symlink_to(folder.resolve(), target_is_directory=True)
        yield alias


def newest_readable(folder: Path) -> Newest | None:
    """Reads checkpoints, the newest first, until one is whole.

    # Arguments
        folder: The folder of the checkpoints; it need not exist.

    # Returns
        The newest that can be read; `None` if none was ever written.

    # Raises
        ValueError: when there are checkpoints, but none that can be read.
    """
    names = os.listdir(folder) if folder.is_dir() else []
    warnings = []
    for number in sorted(_numbers(names), reverse=True):
        try:
            epochs_done = _read(folder, prefix(number))
        except Exception as error:  # TensorFlow's reader raises many kinds.
            reason = f"cannot be read ({first_line(error)})"
            warnings.append(f"The checkpoint {folder / prefix(number)} {reason}.")
            continue
        if _STATE not in names or not (folder / _STATE).stat().st_size:
            warnings.append(f"{folder / _STATE}, the list of checkpoints, was lost.")
        return Newest(prefix(number), epochs_done, warnings)
    if warnings or _STATE in names:
        found = " ".join(warnings) or f"{folder} lists checkpoints that are no longer there."
        raise ValueError(
            f"{found} No other is left, and nothing was overwritten: put a good copy of the "
            "checkpoints back, or start anew in another folder."
        )
    return None


def _numbers(names: list[str]) -> set[int]:
    """Numbers of all checkpoints but those that were being written."""
    unfinished = {int(m[1]) for m in map(_WRITING.fullmatch, names) if m}
    unfinished -= {number for number in unfinished if f"{prefix(number)}.index" in names}
    return {int(m[1]) for m in map(_FILE.fullmatch, names) if m} - unfinished


def _read(folder: Path, name: str) -> int:
    """Reads a checkpoint wholly, with its checksums; returns the number of epochs done."""
    for kind in ("index", "data-00000-of-00001"):
        if not (folder / f"{name}.{kind}").is_file():
            raise ValueError(f"{name}.{kind} is missing")
    with literal(folder) as path:
        reader = tf.train.load_checkpoint(str(path / name))
        for tensor in reader.get_variable_to_shape_map():
            reader.get_tensor(tensor)
        return int(reader.get_tensor(_EPOCHS_DONE))


def write(checkpoint: tf.train.Checkpoint, folder: Path, number: int) -> None:
    """Writes a checkpoint beside the others and moves it among them, the index last.

    TensorFlow writes the index in its place, where a kill leaves half of it.
    """
    temporary = folder / f"{prefix(number)}_temp"
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir(parents=True)
    checkpoint.write(str(temporary / prefix(number)))
    for name in sorted(filter(_FILE.fullmatch, os.listdir(temporary))):
        os.replace(temporary / name, folder / name)
    shutil.rmtree(temporary)


def keep_newest(folder: Path, number: int) -> None:
    """Lists a checkpoint as the newest, and deletes all but it and the one before."""
    older = sorted(n for n in _numbers(os.listdir(folder)) if n < number)
    kept = [*older[len(older) - _KEPT + 1 :], number]
    lines = [f'model_checkpoint_path: "{prefix(number)}"']
    lines += [f'all_model_checkpoint_paths: "{prefix(n)}"' for n in kept]
    # For tf.train.latest_checkpoint and the like; here the folder itself is what counts.
    write_atomically(folder / _STATE, "\n".join(lines) + "\n")
    for name in os.listdir(folder):
        match = _FILE.fullmatch(name)
        if match and int(match[1]) < kept[0]:
            (folder / name).unlink()


def clear(folder: Path) -> None:
    """Deletes what a killed run was writing."""
    if not folder.is_dir():
        return
    names = os.listdir(folder)
    whole = _numbers(names)
    for name in names:
        match = _FILE.fullmatch(name)
        if match and int(match[1]) not in whole:
            (folder / name).unlink()
    # Last, since it is by them that an unfinished checkpoint is known.
    for name in filter(_LEFT_OVER.fullmatch, names):
        if (folder / name).is_dir():
            shutil.rmtree(folder / name)
        else:
            (folder / name).unlink()
