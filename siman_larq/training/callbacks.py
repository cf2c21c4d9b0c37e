"""Keras callbacks of a training run: what a killed run needs."""

import csv
import errno
import io
import json
import math
import tempfile
from pathlib import Path
from typing import Any

import tensorflow as tf

from siman_larq.analysis.log import Flipped
from siman_larq.files import first_line, write_atomically
from siman_larq.training import checkpoints
from siman_larq.training.folder import CHECKPOINTS, HISTORY
from siman_larq.training.progress import say

__all__ = ["Averaged", "Checkpoints"]

# Another worker is gone: the run starts again, and no disk is to blame.
_CLUSTER_ERRORS = (
    tf.errors.UnavailableError,
    tf.errors.AbortedError,
    tf.errors.CancelledError,
    tf.errors.DeadlineExceededError,
    tf.errors.InternalError,
)


class Averaged(tf.keras.callbacks.Callback):
    """Tests with the moving averages that the optimizer keeps, and trains on without them.

    For `CoupledDecaySGD(use_ema=True)`. Keras itself puts the averages in place when `fit` ends.
    Batch normalisation keeps the statistics of the weights that are trained.

    # References
        - [Averaging Weights Leads to Wider Optima and Better
          Generalization](https://arxiv.org/abs/1803.05407)
    """

    def __init__(self) -> None:
        super().__init__()
        self._trained: list[tf.Tensor] = []

    def on_test_begin(self, logs: Any = None) -> None:
        self._trained = self.model.get_weights()
        self.model.optimizer.finalize_variable_values(self.model.trainable_variables)

    def on_test_end(self, logs: Any = None) -> None:
        self.model.set_weights(self._trained)


class Checkpoints(tf.keras.callbacks.Callback):
    """Keeps everything that the rest of a training depends on, after every epoch.

    A checkpoint is written under another name and then moved, so a kill leaves the one before. The
    history is part of it, and history.csv a copy for people.

    # Arguments
        model: A compiled model.
        folder: The run folder.
        is_chief: Whether this process is the one whose checkpoints are kept. Of several workers
            all must save at the same time, because some variables are read from all of them.
        flipped: Of the run's `CodeLog`.
    """

    def __init__(
        self,
        model: tf.keras.Model,
        folder: Path,
        is_chief: bool = True,
        flipped: Flipped | None = None,
    ) -> None:
        super().__init__()
        self._run, self._folder = folder.resolve(), folder.resolve() / CHECKPOINTS
        self._is_chief = is_chief
        optimizer = model.optimizer
        # Larq's CaseOptimizer holds optimizers of Keras's legacy kind, which build themselves.
        parts = getattr(optimizer, "optimizers", [])
        if not parts:
            optimizer.build(model.trainable_variables)
        self._epochs_done = tf.Variable(0, dtype=tf.int64, trainable=False)
        self._history = _History()
        # Older checkpoints have neither.
        self._extra = {"history": self._history, "flipped": flipped or Flipped()}
        self._state: dict[str, Any] = {
            "model": model,
            "optimizer": optimizer,
            "epochs_done": self._epochs_done,
            **{f"optimizer_{number}": part for number, part in enumerate(parts)},
        }

    def restore(self) -> int:
        """Loads the newest checkpoint that can be read; returns the number of epochs done.

        # Raises
            ValueError: when there are checkpoints, but none that can be read, or when they are
                those of another network.
        """
        newest = checkpoints.newest_readable(self._folder)
        if newest is None:
            if done := len(_rows(self._run / HISTORY)):
                raise ValueError(
                    f"{self._run / HISTORY} tells of {done} epochs, but {self._folder} holds no "
                    "checkpoint. Nothing was overwritten: put the checkpoints back, or start anew "
                    "in another folder."
                )
            return 0
        with checkpoints.literal(self._folder) as folder:
            path = str(folder / newest.name)
            try:
                status = tf.train.Checkpoint(**self._state).read(path)
                status.assert_existing_objects_matched().expect_partial()
            except (ValueError, AssertionError) as error:
                raise ValueError(
                    f"The checkpoint {self._folder / newest.name} is of another network than that "
                    f"of recipe.json ({first_line(error)}): the recipe, the data set's "
                    "classes or this package's version changed. Nothing was overwritten: put "
                    "them back, or start anew in another folder."
                ) from error
            tf.train.Checkpoint(**self._extra).read(path).expect_partial()
        done = int(self._epochs_done.numpy())
        if self._is_chief:
            for warning in [*newest.warnings, *self._mend_history(done)]:
                say(f"{warning} The run goes on after epoch {done}.")
            checkpoints.keep_newest(self._folder, done)
        return done

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        logs = logs or {}
        # What the last step of an epoch does shows in the test alone.
        is_lost = math.isnan(logs.get("val_loss", 0.0))
        loss = math.nan if is_lost else logs.get("loss", 0.0)
        if not math.isfinite(loss):
            kept = "The checkpoint of the epoch before is kept; start" if epoch else "Start"
            raise FloatingPointError(
                f"The loss became {loss} in epoch {epoch + 1}: the training diverged. "
                f"{kept} anew with a lower --learning-rate."
            )
        self._epochs_done.assign(epoch + 1)
        figures = {name: float(logs[name]) for name in sorted(logs)}
        self._history.rows.append({"epoch": epoch, **figures})
        if not self._run.is_dir():
            raise FileNotFoundError(f"{self._run} was removed or renamed while the run was in it.")
        self._save(epoch + 1)

    def _save(self, number: int) -> None:
        checkpoint = tf.train.Checkpoint(**self._state, **self._extra)
        if not self._is_chief:
            self._folder.mkdir(exist_ok=True)
            with tempfile.TemporaryDirectory("_temp", "worker-", self._folder) as own:
                checkpoint.write(f"{own}/{checkpoints.prefix(number)}")
            return
        try:
            checkpoints.write(checkpoint, self._folder, number)
        except _CLUSTER_ERRORS:
            raise
        except tf.errors.OpError as error:
            # The file that it names before is a temporary one.
            reason = first_line(error).rpartition("; ")[2]
            raise OSError(errno.EIO, reason, str(self._folder)) from error
        checkpoints.keep_newest(self._folder, number)
        self._write_history()

    def _mend_history(self, done: int) -> list[str]:
        """Writes history.csv again; tells which epochs are unknown."""
        # Checkpoints of older versions have no history.
        known = {row["epoch"]: row for row in [*_rows(self._run / HISTORY), *self._history.rows]}
        self._history.rows = [known[epoch] for epoch in sorted(known) if epoch < done]
        self._write_history()
        lost = [str(epoch + 1) for epoch in range(done) if epoch not in known]
        return [f"{self._run / HISTORY} lacks the epochs {', '.join(lost)}."] if lost else []

    def _write_history(self) -> None:
        rows = self._history.rows
        text = io.StringIO(newline="")
        names = dict.fromkeys(name for row in rows for name in row)
        writer = csv.DictWriter(text, list(names), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
        write_atomically(self._run / HISTORY, text.getvalue())


class _History(tf.train.experimental.PythonState):
    """The figures of every epoch, as part of a checkpoint."""

    def __init__(self) -> None:
        self.rows: list[dict[str, float]] = []

    def serialize(self) -> str:
        return json.dumps(self.rows)

    def deserialize(self, string_value: bytes) -> None:
        self.rows = json.loads(string_value)


def _rows(path: Path) -> list[dict[str, float]]:
    """The whole rows of a history.csv, which may be cut or absent."""
    if not path.is_file():
        return []
    text = path.read_text(errors="replace")
    whole = text[: text.rfind("\n") + 1]
    header, *rows = list(csv.reader(whole.splitlines())) or [[]]
    found: list[dict[str, float]] = []
    for row in rows:
        try:
            figures = dict(zip(header, map(float, row), strict=True))
            found.append(figures | {"epoch": int(figures["epoch"])})
        except (ValueError, KeyError):
            continue
    return found
