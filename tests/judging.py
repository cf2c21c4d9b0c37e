"""Is a file equal to its network, equal up to rounding, or refused in one sentence?

A binary network is not continuous: where rounding carries an activation over its threshold, all
after it changes. Such a difference is *shown by margins*: the network is run again with
activations that lie within a few units of rounding of a threshold on its other side, and has to
give the file's outputs. Anything else that differs is a failure.
"""

import contextlib
import re
import traceback
import warnings
from collections.abc import Iterator
from typing import Any
from unittest import mock

import larq as lq
import numpy as np
import tensorflow as tf
from random_models import Network, network

from siman_larq.conversion import ConversionError, SmallMapWarning, convert, verify
from siman_larq.conversion.flatbuffer import TFLiteFile, with_input_shapes

__all__ = ["explained", "judged"]

TOLERANCE = 3e-5  # of the largest magnitude of an output
MARGIN = 4e-6  # of the largest magnitude that a sign is taken of, or that its sum came from
_TRIALS = 400


def judged(seed: int) -> dict[str, str]:
    """A row for the table: the verdict of a seed, and why."""
    try:
        made = network(seed)
        keras_outputs = made(made.inputs)
    except Exception as error:
        # Nothing of ours has been asked yet.
        return {"verdict": "no network", "detail": _line(error), "parts": ""}
    try:
        verdict, detail = _judged(seed, made, keras_outputs)
    except Exception as error:
        where = traceback.extract_tb(error.__traceback__)[-1]
        verdict, detail = "failure", f"{_line(error)} ({where.filename.split('/')[-1]})"
    return {"verdict": verdict, "detail": detail, "parts": "; ".join(made.parts)}


def _judged(seed: int, made: Network, keras_outputs: list[np.ndarray]) -> tuple[str, str]:
    allowed: list[str] = []
    try:
        tflite = _converted(made, [])
    except (ConversionError, ValueError, TypeError) as error:
        if "would stay float" not in str(error):
            return _refusal(made, error)
        allowed = _names_of(error)
        try:
            tflite = _converted(made, allowed)
        except (ConversionError, ValueError, TypeError) as second:
            return _refusal(made, second)
    if made.parts[0].startswith("mixed_"):
        # Files compute in float32, so the network has to.
        made = _in_float32(seed, made)
        keras_outputs = made(made.inputs)
    try:
        file_outputs = _run(tflite, made)
    except RuntimeError as error:
        if made.small_maps == "warn" and any("warned" in part for part in made.parts):
            return "refused", f"small maps that no kernel of LCE computes: {_line(error)[:80]}"
        raise
    if len(file_outputs) != len(keras_outputs):
        return "failure", f"{len(file_outputs)} outputs in place of {len(keras_outputs)}"
    note = f"left float: {len(allowed)}" if allowed else ""
    is_equal = _distance(keras_outputs, file_outputs) <= 1
    report = verify(made.model, tflite, made.inputs)
    if report.agrees < is_equal:
        return "failure", "verify sees a difference: " + str(report).replace("\n", "; ")
    if is_equal:
        return "equal", note
    shown, text = explained(made, file_outputs)
    return ("rounding" if shown else "failure"), f"{text} {note}".strip()


def _converted(made: Network, allowed: list[str]) -> bytes:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        tflite = convert(made.model, allow_float=allowed, small_maps=made.small_maps)
    for warning in caught:
        if issubclass(warning.category, SmallMapWarning):
            made.parts.append("warned of small maps")
        elif "could not be shown" in str(warning.message):
            made.parts.append("warned that nothing is shown")
    return tflite


def _names_of(error: Exception) -> list[str]:
    """What the message says to pass as `allow_float`."""
    listed = str(error).rsplit("allow_float=", 1)[1].split("]")[0]
    return [name.strip(" '\"") for name in listed.strip("[").split(",")]


def _refusal(made: Network, error: Exception) -> tuple[str, str]:
    text = str(error)
    parts = [made.model, *made.model.submodules]
    names = {part.name for part in parts if isinstance(part, tf.keras.layers.Layer)}
    if not any(re.search(rf"\b{re.escape(name)}\b", text) for name in names):
        return "failure", f"refused without a name: {_line(error)}"
    deep = ("Traceback", "site-packages", "PartitionedCall", "Call arguments", " at 0x", "std::")
    if len(text) > 700 or any(part in text for part in deep):
        return "failure", f"refused by no sentence: {_line(error)}"
    return "refused", _line(error)


def _line(error: Exception) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())}"[:700]


def _in_float32(seed: int, made: Network) -> Network:
    twin = network(seed, policy="float32")
    twin.model.set_weights(made.model.get_weights())
    return twin


def _run(tflite: bytes, made: Network) -> list[np.ndarray]:
    """Outputs of the file in the kernel of LCE that is right, in its own order."""
    from larq_compute_engine.tflite.python.interpreter import Interpreter

    file = TFLiteFile(tflite)
    batch = int(file.graph.tensors[file.graph.inputs[0]].shape[0])
    tflite = with_input_shapes(tflite, [(batch, *x.shape[1:]) for x in made.inputs])
    is_reference = any(c.has_small_maps or c.is_grouped for c in file.binary_convolutions)
    lce = Interpreter(tflite, use_reference_bconv=is_reference, use_indirect_bgemm=not is_reference)
    outputs = []
    for start in range(0, len(made.inputs[0]), batch):
        step = [x[start : start + batch] for x in made.inputs]
        cast = [x.astype(dtype) for x, dtype in zip(step, lce.input_types, strict=True)]
        outputs.append(lce.interpreter.predict(cast))
    return [np.concatenate(parts) for parts in zip(*outputs, strict=True)]


def _distance(ours: list[np.ndarray], theirs: list[np.ndarray]) -> float:
    """The largest difference, in units of what is tolerated; infinite for other shapes."""
    worst = 0.0
    for a, b in zip(ours, theirs, strict=True):
        if a.shape != b.shape:
            return np.inf
        a, b = (np.asarray(y, np.float64) for y in (a, b))
        scale = max(float(np.abs(a).max(initial=0)), 1e-3)
        difference = np.abs(a - b).max(initial=0) / (TOLERANCE * scale)
        worst = max(worst, float(difference) if np.isfinite(difference) else np.inf)
    return worst


def _mean(ours: np.ndarray, theirs: np.ndarray) -> float:
    return float(np.nan_to_num(np.abs(ours.astype(np.float64) - theirs).mean(), nan=np.inf))


# Margins --------------------------------------------------------------------------------------


def explained(made: Network, file_outputs: list[np.ndarray]) -> tuple[bool, str]:
    """Whether activations at their thresholds explain what differs, for each sample and output."""
    is_fixed = tf.nest.flatten(made.structure)[0].shape[0] is not None
    count = 1 if is_fixed else len(made.inputs[0])
    turned = []
    for index in range(count):
        part = slice(None) if is_fixed else slice(index, index + 1)
        inputs = [x[part] for x in made.inputs]
        for output, wanted in enumerate(file_outputs):
            found, text = _search(made, inputs, output, wanted[part])
            if not found:
                return False, text
            turned.append(text)
    return True, "; ".join(turned)


def _search(
    made: Network, inputs: list[np.ndarray], output: int, wanted: np.ndarray
) -> tuple[bool, str]:
    """Turns activations at a threshold at random, and keeps what comes nearer."""
    rng = np.random.default_rng(0)
    choices: dict[Any, float] = {}
    turned: dict[Any, float] = {}
    near: list[tuple[Any, float]] = []
    reached, best = np.inf, np.inf
    seen: set[frozenset] = set()
    for _ in range(_TRIALS):
        seen.add(frozenset(turned.items()))
        with _Signs(made.model, turned).patched() as signs:
            given = made(inputs)[output]
        distance, mean = _distance([given], [wanted]), _mean(given, wanted)
        best = min(best, distance)
        if distance <= 1:
            return True, f"{len(turned)} of {len(signs.near)} turned"
        # Two that have to turn together may make it worse one by one.
        if mean <= reached or rng.random() < 0.1:
            choices, near, reached = turned, signs.near, mean
        if len(seen) >= 2 ** len(near):
            break
        key, side = near[rng.integers(len(near))]
        turned = {**choices, key: -side}
    return False, (
        f"off by {best * TOLERANCE:.3g} of the largest output at best; {len(near)} activations at "
        f"a threshold, {len(seen)} choices of their sides tried"
    )


class _Signs:
    """Signs that note which activations lie at a threshold, and take the sides that are chosen."""

    def __init__(self, model: tf.keras.Model, choices: dict[Any, float]) -> None:
        self.near: list[tuple[Any, float]] = []
        self._choices = choices
        self._calls = 0
        self._kernels = {tuple(weight.shape) for weight in model.weights}

    def above(self, x: tf.Tensor, scale: Any = None) -> tf.Tensor:
        """Where `x` counts as at least 0."""
        values = np.asarray(x, np.float64)
        sides = np.asarray(values >= 0)
        self._calls += 1
        if tuple(x.shape) not in self._kernels:  # the codes of weights are exact
            scale = np.abs(values).max(initial=0) if scale is None else scale
            for place in np.flatnonzero(np.abs(values) <= MARGIN * scale):
                key = (self._calls, int(place))
                side = self._choices.get(key, 1.0 if sides.flat[place] else -1.0)
                sides.flat[place] = side > 0
                self.near.append((key, side))
        return tf.constant(sides)

    def sign(self, x: tf.Tensor, scale: Any = None) -> tf.Tensor:
        x = tf.convert_to_tensor(x)
        return tf.where(self.above(x, scale), tf.ones_like(x), -tf.ones_like(x))

    def heaviside(self, x: tf.Tensor) -> tf.Tensor:
        # At 0 it is 0: strictly above counts.
        return tf.where(self.above(-x), tf.zeros_like(x), tf.ones_like(x))

    def ternary(self, x: tf.Tensor, threshold_value: float = 0.05, *_: Any, **__: Any) -> tf.Tensor:
        return tf.sign(self.sign(x + threshold_value) - self.sign(-x + threshold_value))

    def round(self, x: tf.Tensor) -> tf.Tensor:
        below = tf.floor(x)
        return below + tf.where(self.above(x - below - 0.5), tf.ones_like(x), tf.zeros_like(x))

    def sample_sign(self, x: tf.Tensor, zero: int = 0) -> tf.Tensor:
        values = tf.cast(x, tf.float32)
        mean = tf.reduce_mean(values, axis=list(range(1, x.shape.rank)), keepdims=True)
        signs = self.sign(values - mean, scale=float(tf.reduce_max(tf.abs(values))))
        return tf.cast(signs, x.dtype)

    @contextlib.contextmanager
    def patched(self) -> Iterator["_Signs"]:
        with (
            mock.patch.object(lq.math, "sign", self.sign),
            mock.patch.object(lq.math, "heaviside", self.heaviside),
            mock.patch.object(lq.quantizers, "ste_tern", self.ternary),
            mock.patch.object(tf, "round", self.round),
            mock.patch("siman_larq.quantizers.sample_sign", self.sample_sign),
        ):
            yield self
