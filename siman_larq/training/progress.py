"""What a person sees while a run is at work."""

import sys
import time
from typing import Any

import tensorflow as tf
from tqdm import tqdm

__all__ = ["Progress", "Stopwatch", "say"]


def say(line: str) -> None:
    """Prints a line at once, above a bar if there is one."""
    tqdm.write(line)
    sys.stdout.flush()


class Stopwatch(tf.keras.callbacks.Callback):
    """Puts the seconds of every epoch, with its evaluation, among its figures.

    It goes before the callbacks that write figures down.
    """

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        self._begin = time.perf_counter()

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        if logs is not None:
            logs["seconds"] = round(time.perf_counter() - self._begin, 3)


class Progress(tf.keras.callbacks.Callback):
    """One bar for the whole training, with the time left; a line for every epoch above it."""

    def __init__(self, first_epoch: int, epochs: int, steps: int, is_shown: bool = True) -> None:
        super().__init__()
        self._first, self._epochs, self._steps = first_epoch, epochs, steps
        self._is_shown = is_shown

    def on_train_begin(self, logs: Any = None) -> None:
        if self._is_shown:
            say("Tracing the training step; the first steps take longer.")
        total = self._epochs * self._steps
        done = self._first * self._steps
        self._bar = tqdm(
            total=total,
            initial=done,
            unit="step",
            smoothing=0.05,
            mininterval=1.0,
            disable=not self._is_shown,
        )

    def on_test_begin(self, logs: Any = None) -> None:
        self._bar.set_postfix_str("testing")

    def on_test_end(self, logs: Any = None) -> None:
        self._bar.set_postfix_str("")

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        if logs and "loss" in logs:
            self._bar.set_postfix_str(f"loss {logs['loss']:.4f}", refresh=False)
        self._bar.update()

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        names = ("loss", "accuracy", "top5", "val_loss", "val_accuracy", "val_top5")
        logs = logs or {}
        figures = ", ".join(f"{name} {logs[name]:.4f}" for name in names if name in logs)
        if self._is_shown:
            self._bar.write(f"epoch {epoch + 1}/{self._epochs}: {figures}")

    def close(self) -> None:
        """Ends the bar, also after an interrupt."""
        if hasattr(self, "_bar"):
            self._bar.close()
