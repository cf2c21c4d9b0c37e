"""Keras callbacks of a training run: what a killed run needs, and what a person watches."""

import csv
import math
from pathlib import Path
from typing import Any

import tensorflow as tf
from tqdm import tqdm

from siman_larq.training.files import write_atomically

__all__ = ["Checkpoints", "Progress", "history_without_lost_epochs"]


class Checkpoints(tf.keras.callbacks.Callback):
    """Keeps everything that the rest of a training depends on, after every epoch.

    TensorFlow writes a checkpoint under a new name and then moves the name over, so a kill
    leaves the one before.

    # Arguments
        model: A compiled model.
        folder: Where checkpoints go.
    """

    def __init__(self, model: tf.keras.Model, folder: Path) -> None:
        super().__init__()
        model.optimizer.build(model.trainable_variables)
        self._epochs_done = tf.Variable(0, dtype=tf.int64, trainable=False)
        checkpoint = tf.train.Checkpoint(
            model=model, optimizer=model.optimizer, epochs_done=self._epochs_done
        )
        self._manager = tf.train.CheckpointManager(checkpoint, str(folder), max_to_keep=2)

    def restore(self) -> int:
        """Loads the newest checkpoint, if there is one; returns the number of epochs done."""
        if self._manager.restore_or_initialize() is None:
            return 0
        return int(self._epochs_done.numpy())

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        if not math.isfinite((logs or {}).get("loss", 0.0)):
            raise FloatingPointError(
                f"The loss became {logs['loss']} in epoch {epoch + 1}: the training diverged. The "
                "checkpoint of the epoch before is kept; start anew with a lower --learning-rate."
            )
        self._epochs_done.assign(epoch + 1)
        self._manager.save(checkpoint_number=epoch + 1)


class Progress(tf.keras.callbacks.Callback):
    """One bar for the whole training, with the time left; a line for every epoch above it."""

    def __init__(self, first_epoch: int, epochs: int, steps: int) -> None:
        super().__init__()
        self._first, self._epochs, self._steps = first_epoch, epochs, steps

    def on_train_begin(self, logs: Any = None) -> None:
        total = self._epochs * self._steps
        done = self._first * self._steps
        self._bar = tqdm(total=total, initial=done, unit="step", smoothing=0.05, mininterval=1.0)

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        self._bar.update()

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        figures = ", ".join(
            f"{name} {logs[name]:.4f}"
            for name in ("loss", "accuracy", "val_loss", "val_accuracy")
            if name in (logs or {})
        )
        self._bar.write(f"epoch {epoch + 1}/{self._epochs}: {figures}")

    def close(self) -> None:
        """Ends the bar, also after an interrupt."""
        if hasattr(self, "_bar"):
            self._bar.close()


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
