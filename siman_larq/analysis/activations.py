"""The binary activations of a model, on images."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import tensorflow as tf

from siman_larq._scopes import quantized
from siman_larq.analysis import statistics
from siman_larq.analysis.codes import unique, unmeasured
from siman_larq.choices import is_whole
from siman_larq.conversion.patches import Patch, patched
from siman_larq.quantizers import SampleSign

__all__ = ["MARGIN_EDGES", "LayerActivations", "activations"]

# Ten bins a decade; what lies beyond is in the first and the last.
MARGIN_EDGES = np.logspace(-9, 2, 111)


@dataclass(frozen=True, eq=False)
class LayerActivations:
    """What goes into a binary layer and what comes out of it.

    # Attributes
        name: The name of the layer.
        balance: The share of +1 in every channel of its inputs, shape `(channels,)`.
        margins: How many inputs have a margin between each two of `MARGIN_EDGES`; `None` where it
            is not known where the quantizer turns the sign: neither at the mean of a sample nor
            at 0.
        within_rounding: The share of inputs within one rounding of float32 of where their sign
            turns, on which Keras and a file may disagree; NaN where that is not known.
        common_share: The share of the variance of outputs that is common to all filters; see
            `siman_larq.analysis.statistics.common_share`. Of levels (0, 1) it is large.
    """

    name: str
    balance: np.ndarray
    margins: np.ndarray | None
    within_rounding: float
    common_share: float

    @property
    def dead(self) -> np.ndarray:
        """The channels that had one sign on all images, shape `(channels,)`."""
        return (self.balance == 0) | (self.balance == 1)

    def summary(self) -> dict[str, float]:
        """One number for each figure: shares, of `balance` the mean over channels."""
        return {
            "balance": float(self.balance.mean()),
            "dead": float(self.dead.mean()),
            "within_rounding": self.within_rounding,
            "common_share": self.common_share,
        }


def activations(
    model: tf.keras.Model, images: Any, batch_size: int = 100
) -> list[LayerActivations]:
    """Runs a model for inference and looks at all layers with an input quantizer.

    !!! example
        ```python
        for layer in siman_larq.analysis.activations(model, images[:200]):
            print(layer.name, layer.dead.sum(), layer.within_rounding)
        ```

    # Arguments
        model: A Keras model, also with models within it, shared and wrapped layers.
        images: Inputs of the model, an array or a structure of them; some hundred images do.
        batch_size: How many images are taken at a time, 1 or more. `common_share` is the mean over
            batches.

    # Returns
        One for each layer with an input quantizer of precision 1, in the order of their calls.
        Layers whose input quantizer has more bits are left out, with a warning.

    # Raises
        TypeError: if `model` is not a Keras model, or `images` no arrays.
        ValueError: for no images, inputs with different numbers of them or another batch size; and
            naming the layer, for NaN or infinite activations.
    """
    if not isinstance(model, tf.keras.Model):
        raise TypeError(f"activations: model={model!r} is no tf.keras.Model.")
    if not is_whole(batch_size) or batch_size < 1:
        raise ValueError(f"activations: batch_size={batch_size!r} must be a whole number above 0.")
    count = _count(images)
    watched = [_Watched(layer) for layer in model.submodules if _quantizes_inputs(layer)]
    left_out = [one.layer.name for one in watched if not one.is_binary]
    if left_out:
        warnings.warn(
            f"Model {model.name!r}: left out {', '.join(left_out)}, whose input_quantizer is not "
            "of precision 1.",
            stacklevel=2,
        )
    calls: list[_Watched] = []
    patches = [patch for one in watched if one.is_binary for patch in one.patches(calls)]
    with patched(patches), _eagerly(), quantized(False):
        for first in range(0, count, batch_size):
            batch = tf.nest.map_structure(lambda x, i=first: x[i : i + batch_size], images)
            model(batch, training=False)
    seen = list(dict.fromkeys(calls))
    names = unique([one.layer.name for one in seen])
    return [one.figures(name) for one, name in zip(seen, names, strict=True)]


def _count(images: Any) -> int:
    """How many images there are in every input."""
    arrays = tf.nest.flatten(images)
    if not all(isinstance(array, np.ndarray | tf.Tensor) and array.ndim for array in arrays):
        raise TypeError(
            f"activations: images={type(images).__name__} is not supported; give an array with an "
            "image in every row, or as many of them as the model has inputs, for example "
            "next(iter(dataset.batch(200)))[0]."
        )
    counts = {len(array) for array in arrays}
    if len(counts) > 1:
        raise ValueError(
            f"activations: images has inputs of {sorted(counts)} images; give as many to each."
        )
    if not sum(counts):
        raise ValueError("activations: images is empty; give some hundred images.")
    return counts.pop()


class _Watched:
    """A layer, and what is seen of every call of it."""

    def __init__(self, layer: Any) -> None:
        self.layer, self._quantizer, self._call = layer, layer.input_quantizer, layer.call
        self.is_binary = getattr(self._quantizer, "precision", None) == 1
        self._sizes: list[int] = []
        self._balance: list[np.ndarray] = []
        self._margins: list[np.ndarray | None] = []
        self._within: list[float] = []
        self._common: list[float] = []

    def patches(self, calls: list["_Watched"]) -> list[Patch]:
        def quantizer(inputs: Any) -> Any:
            with unmeasured([self._quantizer]):
                outputs = self._quantizer(inputs)
            calls.append(self)
            self._see(*map(self._channels_last, (inputs, outputs)))
            return outputs

        def call(*args: Any, **kwargs: Any) -> Any:
            outputs = self._call(*args, **kwargs)
            self._common.append(statistics.common_share(self._channels_last(outputs)))
            return outputs

        return [(self.layer, "input_quantizer", quantizer), (self.layer, "call", call)]

    def _channels_last(self, values: Any) -> np.ndarray:
        values = np.asarray(values, np.float64)
        is_first = getattr(self.layer, "data_format", None) == "channels_first"
        return np.moveaxis(values, 1, -1) if is_first else values

    def _see(self, inputs: np.ndarray, binary: np.ndarray) -> None:
        if bad := int(np.count_nonzero(~np.isfinite(inputs))):
            raise ValueError(
                f"activations: {bad} of {inputs.size} inputs of layer {self.layer.name!r} are NaN "
                "or infinite, and have no sign; look for such images or weights."
            )
        self._sizes.append(inputs.size)
        self._balance.append(statistics.balance(binary))
        centre = None if isinstance(self._quantizer, SampleSign) else 0.0
        if centre == 0 and not (((binary > 0) == (inputs > 0)) | (inputs == 0)).all():
            self._margins.append(None)
            self._within.append(np.nan)
            return
        margins, within = statistics.margins(inputs, centre)
        inside = np.clip(margins, MARGIN_EDGES[0], MARGIN_EDGES[-1])
        self._margins.append(np.histogram(inside, MARGIN_EDGES)[0])
        self._within.append(float(within.mean()))

    def figures(self, name: str) -> LayerActivations:
        """Means over calls."""
        known = [counts for counts in self._margins if counts is not None]
        return LayerActivations(
            name,
            np.average(self._balance, axis=0, weights=self._sizes),
            np.sum(known, axis=0) if len(known) == len(self._margins) else None,
            float(np.average(self._within, weights=self._sizes)),
            float(np.mean(self._common)),
        )


def _quantizes_inputs(layer: Any) -> bool:
    return isinstance(layer, tf.keras.layers.Layer) and callable(
        getattr(layer, "input_quantizer", None)
    )


@contextmanager
def _eagerly() -> Iterator[None]:
    before = tf.config.functions_run_eagerly()
    try:
        tf.config.run_functions_eagerly(True)
        yield
    finally:
        tf.config.run_functions_eagerly(before)
