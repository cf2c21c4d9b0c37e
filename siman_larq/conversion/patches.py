"""The form of a model that its file has, put on for a while and taken off again."""

import contextlib
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np
import tensorflow as tf
from larq.quantized_variable import QuantizedVariable

from siman_larq._private import float32_policy
from siman_larq._scopes import no_metrics, quantized
from siman_larq.conversion.errors import ConversionError
from siman_larq.quantizers import SampleSign

__all__ = ["Patch", "as_in_a_file", "codes_as_constants", "patched", "quantized_variables"]

Patch = tuple[Any, str, Any]


@contextlib.contextmanager
def patched(patches: Iterable[Patch]) -> Iterator[None]:
    """Gives objects attributes of their own for a while, past what Keras makes of assignments."""
    kept: list[tuple[dict[str, Any], str, Any]] = []
    try:
        for owner, name, value in patches:
            attributes: dict[str, Any] = owner.__dict__
            kept.append((attributes, name, attributes.get(name, _ABSENT)))
            attributes[name] = value
        yield
    finally:
        for attributes, name, value in reversed(kept):
            if value is _ABSENT:
                attributes.pop(name, None)
            else:
                attributes[name] = value


_ABSENT = object()


@contextlib.contextmanager
def as_in_a_file(model: tf.keras.Model) -> Iterator[None]:
    """What a 1-bit file cannot have any other way: float32, and no third value of a sign.

    Larq's scopes are as they are outside of them, whatever was left on by an exception, and
    functions of TensorFlow run without the traces that they keep, now and later.
    """
    layers = [part for part in model.submodules if isinstance(part, tf.keras.layers.Layer)]
    layers.append(model)
    patches: list[Patch] = [(part, "zero", 1) for part in layers if isinstance(part, SampleSign)]
    patches += [patch for layer in layers for patch in float32_policy(layer)]
    eager = tf.config.functions_run_eagerly()
    try:
        tf.config.run_functions_eagerly(True)
        with patched(patches), quantized(False), no_metrics():
            yield
    finally:
        tf.config.run_functions_eagerly(eager)


def quantized_variables(model: tf.keras.Model) -> list[QuantizedVariable]:
    """The variables of a model that quantize themselves, to any number of bits."""
    found = {}
    for variable in model.variables:
        if isinstance(variable, QuantizedVariable) and variable.quantizer is not None:
            found[id(variable)] = variable
    return list(found.values())


@contextlib.contextmanager
def codes_as_constants(model: tf.keras.Model) -> Iterator[None]:
    """Puts constants in place of quantized weights, so that nothing is left of a quantizer.

    LCE packs a kernel only if it is a constant; and weights are quantized once, to however many
    bits.
    """
    with patched([(v, "quantizer", _constant(v)) for v in quantized_variables(model)]):
        yield


def _constant(variable: QuantizedVariable) -> Callable[[Any], tf.Tensor]:
    with quantized(True):
        value = np.array(tf.convert_to_tensor(variable), np.float32)
    if not np.isfinite(value).all():
        raise ConversionError(
            f"Weights {variable.name!r} are NaN or infinite once they are quantized; look at "
            f"their quantizer {variable.quantizer!r}."
        )
    return lambda _: tf.constant(value)
