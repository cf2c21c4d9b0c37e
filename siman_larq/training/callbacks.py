"""Keras callbacks of a training run: what a killed run needs."""

import csv
import math
import shutil
import tempfile
from pathlib import Path
from typing import Any

import tensorflow as tf

from siman_larq.training.files import write_atomically

__all__ = ["Checkpoints", "history_without_lost_epochs"]


class Checkpoints(tf.keras.callbacks.Callback):
    """Keeps everything that the rest of a training depends on, after every epoch.

    TensorFlow writes a checkpoint under a new name and then moves the name over, so a kill
    leaves the one before.

    # Arguments
        model: A compiled model.
        folder: Where checkpoints go.
        is_chief: Whether this process is the one whose checkpoints are kept. Of several workers
            all must save at the same time, because some variables are read from all of them.
    """

    def __init__(self, model: tf.keras.Model, folder: Path, is_chief: bool = True) -> None:
        super().__init__()
        self._folder, self._is_chief = str(folder), is_chief
        optimizer = model.optimizer
        # Larq's CaseOptimizer holds optimizers of Keras's legacy kind, which build themselves.
        parts = getattr(optimizer, "optimizers", [])
        if not parts:
            optimizer.build(model.trainable_variables)
        self._epochs_done = tf.Variable(0, dtype=tf.int64, trainable=False)
        self._checkpoint = tf.train.Checkpoint(
            model=model,
            optimizer=optimizer,
            epochs_done=self._epochs_done,
            **{f"optimizer_{number}": part for number, part in enumerate(parts)},
        )

    def restore(self) -> int:
        """Loads the newest checkpoint, if there is one; returns the number of epochs done."""
        newest = tf.train.latest_checkpoint(self._folder)
        if newest is None:
            return 0
        self._checkpoint.restore(newest).expect_partial()
        return int(self._epochs_done.numpy())

    def on_train_begin(self, logs: Any = None) -> None:
        own = self._folder if self._is_chief else tempfile.mkdtemp(prefix="siman-larq-worker-")
        self._manager = tf.train.CheckpointManager(self._checkpoint, own, max_to_keep=2)

    def on_train_end(self, logs: Any = None) -> None:
        if not self._is_chief:
            shutil.rmtree(self._manager.directory, ignore_errors=True)

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        if not math.isfinite((logs or {}).get("loss", 0.0)):
            raise FloatingPointError(
                f"The loss became {logs['loss']} in epoch {epoch + 1}: the training diverged. The "
                "checkpoint of the epoch before is kept; start anew with a lower --learning-rate."
            )
        self._epochs_done.assign(epoch + 1)
        self._manager.save(checkpoint_number=epoch + 1)


def history_without_lost_epochs(path: Path, epochs_done: int) -> None:
    """Drops rows of epochs after the last checkpoint: the resumed run writes them again."""
    if not path.exists():
        return
    with open(path, newline="") as file:
        header, *rows = list(csv.reader(file)) or [[]]
    kept = [row for row in rows if len(row) == len(header) and int(row[0]) < epochs_done]
    if kept:
        write_atomically(path, "".join(",".join(row) + "\n" for row in [header, *kept]))
    else:
        path.unlink()
