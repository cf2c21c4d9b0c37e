"""A Keras callback that writes down what becomes of the codes."""

import csv
import io
import reprlib
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from siman_larq.analysis.codes import Kernel, LayerCode, binary_kernels, mean
from siman_larq.files import write_atomically
from siman_larq.filters import to_columns

__all__ = ["CodeLog", "Flipped"]

CSV = "codes.csv"
_MEANS = ("entropy", "sign_entropy", "beta", "angle")


class CodeLog(tf.keras.callbacks.Callback):
    """Adds figures of the codes to those of every epoch, and writes those of every layer down.

    | figure | what it is |
    |---|---|
    | `entropy` | of the codes in bits, mean over filters, then layers |
    | `sign_entropy` | of the signs of latent weights in bits, the same way |
    | `beta` | shape of latent weights (1 Laplace, 2 Gauss), median over filters, then mean |
    | `angle` | from the magnitudes of latent weights to the code in use, in degrees |
    | `flips` | how often a weight's code changed in this epoch, mean over weights |
    | `never_flipped` | the share of weights whose code never changed since training began |

    They are in the epoch's `logs`, so that `History`, and `CSVLogger` and `TensorBoard` after it in
    the list of callbacks, have them too. Codes are compared after every step and training is not
    changed by it, bit for bit. Where steps cannot be seen, since `compile` was given
    `steps_per_execution`, the last two are NaN; `never_flipped` is so too where a training goes on
    and what came before is not known. A model without a binary kernel has no figures.

    !!! example
        ```python
        logs = [siman_larq.analysis.CodeLog("run"), tf.keras.callbacks.TensorBoard("run")]
        model.fit(images, labels, epochs=10, callbacks=logs)
        ```

    # Arguments
        folder: Where `codes.csv` goes, with a row for every epoch and layer and all figures of
            `LayerCode.summary`, and an event file for TensorBoard with the same. Rows of earlier
            epochs stay where a training goes on. `None`: neither is written.
        first_epoch: The epoch in which codes are trained for the first time; what came before,
            such as a step with real weights, had none.

    # Attributes
        flipped: Which codes have changed; put it into a `tf.train.Checkpoint` to keep
            `never_flipped` where a training goes on.

    # Raises
        ValueError: at the beginning of training, for a model that is not built, and for a
            `codes.csv` in the folder that is another.
    """

    def __init__(self, folder: str | Path | None = None, first_epoch: int = 0) -> None:
        super().__init__()
        self._first_epoch = first_epoch
        self.flipped = Flipped()
        self._folder = None if folder is None else Path(folder)

    def on_train_begin(self, logs: dict | None = None) -> None:
        self._kernels = binary_kernels(self.model)
        self._count = _counter(self._kernels)
        self._rows: list[dict[str, Any]] = []
        if self._kernels:
            nothing = [tf.zeros(kernel.variable.shape, tf.bool) for kernel in self._kernels]
            self._code, *_ = self._count(nothing, nothing)
        self._is_begun, self._sees_steps = False, True

    def on_epoch_begin(self, epoch: int, logs: dict | None = None) -> None:
        if not self._kernels:
            return
        if not self._is_begun:
            self._is_begun = True
            self._begin(epoch)
        self._flips = tf.zeros([len(self._kernels)], tf.int64)
        self._last = -1

    def _begin(self, epoch: int) -> None:
        shapes = [kernel.variable.shape for kernel in self._kernels]
        if epoch == self._first_epoch:
            self.flipped.clear(shapes, epoch)
        self._changed = [tf.constant(mask) for mask in self.flipped.masks(shapes, epoch)]
        if self._folder is not None:
            self._folder.mkdir(parents=True, exist_ok=True)
            kept = _rows(self._folder / CSV)
            self._rows = [row for row in kept if int(row["epoch"]) < epoch]
            path = str(self._folder / "tensorboard" / "codes")
            self._board = tf.summary.create_file_writer(path)

    def on_train_batch_end(self, batch: int, logs: dict | None = None) -> None:
        if not self._kernels:
            return
        if batch != self._last + 1 and self._sees_steps:
            warnings.warn(
                "CodeLog: several steps are run at a time (steps_per_execution), so flips cannot "
                "be counted; compile the model without it.",
                stacklevel=2,
            )
            self._sees_steps = self.flipped.is_known = False
        self._last = batch
        self._code, self._changed, flips = self._count(self._code, self._changed)
        self._flips += flips

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        if not self._kernels:
            return
        self.flipped.keep([mask.numpy() for mask in self._changed], epoch + 1)
        sizes = np.array([kernel.variable.shape.num_elements() for kernel in self._kernels])
        flips = self._flips.numpy() / sizes
        never = np.array([1 - np.mean(mask) for mask in self._changed])
        if not self._sees_steps:
            flips[:] = np.nan
        if not self.flipped.is_known:
            never[:] = np.nan
        with np.errstate(all="ignore"):  # Of a training that diverged others tell.
            layers = [_figures(*pair) for pair in zip(self._kernels, self._code, strict=True)]
        for row, *pair in zip(layers, flips, never, strict=True):
            row |= dict(zip(("flips", "never_flipped"), map(float, pair), strict=True))
        if logs is not None:
            logs |= {name: mean([row[name] for row in layers]) for name in _MEANS}
            logs["flips"] = float(np.average(flips, weights=sizes))
            logs["never_flipped"] = float(np.average(never, weights=sizes))
        self._write(epoch, layers)

    def _write(self, epoch: int, layers: list[dict[str, float]]) -> None:
        if self._folder is None:
            return
        names = [kernel.name for kernel in self._kernels]
        for name, figures in zip(names, layers, strict=True):
            self._rows.append({"epoch": epoch, "layer": name, **figures})
        text = io.StringIO(newline="")
        columns = dict.fromkeys(column for row in (self._rows[-1], *self._rows) for column in row)
        writer = csv.DictWriter(text, list(columns), lineterminator="\n")
        writer.writeheader()
        writer.writerows(self._rows)
        write_atomically(self._folder / CSV, text.getvalue())
        with self._board.as_default(epoch):
            for name, figures in zip(names, layers, strict=True):
                for figure, value in figures.items():
                    tf.summary.scalar(f"{figure}/{name}", value)
        self._board.flush()


class Flipped(tf.train.experimental.PythonState):
    """Which codes have changed since a training began, one bit a weight.

    # Attributes
        epoch: How many epochs it has seen.
        is_known: Whether it has seen all of them.
    """

    def __init__(self) -> None:
        self.epoch = 0
        self.is_known = False
        self._bits = b""

    def clear(self, shapes: list[tf.TensorShape], epoch: int) -> None:
        """At the beginning of a training."""
        self.is_known = True
        self.keep([np.zeros(shape, bool) for shape in shapes], epoch)

    def keep(self, masks: list[np.ndarray], epoch: int) -> None:
        """Takes the masks at the end of an epoch."""
        self._bits = np.packbits(np.concatenate([mask.ravel() for mask in masks])).tobytes()
        self.epoch = epoch

    def masks(self, shapes: list[tf.TensorShape], epoch: int) -> list[np.ndarray]:
        """The masks again, of nothing where they are not known for this epoch."""
        sizes = [shape.num_elements() for shape in shapes]
        if epoch != self.epoch or len(self._bits) != -(-sum(sizes) // 8):
            self.is_known = False
            return [np.zeros(shape, bool) for shape in shapes]
        bits = np.unpackbits(np.frombuffer(self._bits, np.uint8), count=sum(sizes)).astype(bool)
        parts = np.split(bits, np.cumsum(sizes)[:-1])
        return [part.reshape(shape) for part, shape in zip(parts, shapes, strict=True)]

    def serialize(self) -> bytes:
        return b"%d %d " % (self.is_known, self.epoch) + self._bits

    def deserialize(self, string_value: bytes) -> None:
        known, epoch, self._bits = string_value.split(b" ", 2)
        self.is_known, self.epoch = known == b"1", int(epoch)


def _counter(kernels: list[Kernel]) -> Callable[..., Any]:
    """Compares codes with those before, in one graph on the device."""

    @tf.function
    def count(before: list[tf.Tensor], changed: list[tf.Tensor]) -> Any:
        code = [kernel.values() > 0 for kernel in kernels]
        turned = [a != b for a, b in zip(before, code, strict=True)]
        changed = [a | b for a, b in zip(changed, turned, strict=True)]
        return code, changed, tf.stack([tf.math.count_nonzero(mask) for mask in turned])

    return count


def _figures(kernel: Kernel, code: tf.Tensor) -> dict[str, float]:
    bits = to_columns(code, kernel.axes).numpy()
    return LayerCode(kernel.name, kernel.latent(), bits, (0.0, 1.0)).summary()


def _rows(path: Path) -> list[dict[str, Any]]:
    """The rows of earlier epochs, also with columns that somebody added."""
    if not path.exists():
        return []
    with open(path, newline="", encoding="utf-8-sig") as file:
        rows = list(csv.DictReader(file))
    for row in rows:
        if not (row.get("epoch") or "").isdecimal() or None in row or None in row.values():
            raise ValueError(
                f"CodeLog: {path} is damaged or no file of CodeLog's: it has the row "
                f"{reprlib.repr(row)}. Move it away, or give another folder."
            )
    return rows
