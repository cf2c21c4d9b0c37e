"""How small the file of a model can be."""

import math
from collections.abc import Callable, Iterable

import tensorflow as tf

from siman_larq.conversion.flatbuffer import constant_bytes

__all__ = ["float32_bytes", "theoretical_bytes"]

# What a scale and shift per channel passes through on its way into a dense layer.
_PASSED = (tf.keras.layers.Dropout, tf.keras.layers.Flatten, tf.keras.layers.GlobalAveragePooling2D)


def theoretical_bytes(model: tf.keras.Model, tflite: bytes) -> int:
    """The fewest bytes that a model's weights can take in its 1-bit file.

    Binary kernels count 1 bit a weight, in words of 32 channels as LCE keeps them, and all other
    weights 32 bits; of a batch normalisation only a shift per channel counts, which its
    neighbours do not take in, and the whole is never more than the constants of the file.
    """
    return min(_weight_bytes(model, _packed_bytes), constant_bytes(tflite))


def float32_bytes(model: tf.keras.Model) -> int:
    """The fewest bytes that a model's weights can take in a file of 32-bit weights."""
    return _weight_bytes(model, lambda kernel: 4 * kernel.shape.num_elements())


def _weight_bytes(model: tf.keras.Model, kernel_bytes: Callable[[tf.Variable], int]) -> int:
    layers = [m for m in model.submodules if isinstance(m, tf.keras.layers.BatchNormalization)]
    norms = [layer for layer in layers if layer.built]
    within = {id(weight) for norm in norms for weight in norm.weights}
    total = sum(4 * norm.moving_mean.shape.num_elements() for norm in norms if _adds_shift(norm))
    for weight in model.weights:
        if getattr(weight, "precision", 32) == 1:
            total += kernel_bytes(weight)
        # Seeds and counts are whole numbers, and no part of inference.
        elif id(weight) not in within and weight.dtype.is_floating:
            total += 4 * weight.shape.num_elements()
    return total


def _packed_bytes(kernel: tf.Variable) -> int:
    *window, channels, filters = kernel.shape
    if len(window) == 2:
        return math.prod(window) * filters * math.ceil(channels / 32) * 4
    return math.ceil(kernel.shape.num_elements() / 8)


def _adds_shift(norm: tf.keras.layers.Layer) -> bool:
    """Whether neither a bias before a batch normalisation nor a dense layer behind it takes it."""
    has_bias = any(getattr(layer, "use_bias", False) for layer in _before(norm))
    return not has_bias and not _goes_into_dense(norm)


def _before(layer: tf.keras.layers.Layer) -> Iterable[tf.keras.layers.Layer]:
    return [other for node in layer.inbound_nodes for other in tf.nest.flatten(node.inbound_layers)]


def _goes_into_dense(layer: tf.keras.layers.Layer) -> bool:
    behind = [node.outbound_layer for node in layer.outbound_nodes]
    return bool(behind) and all(
        isinstance(other, tf.keras.layers.Dense)
        or (isinstance(other, _PASSED) and _goes_into_dense(other))
        for other in behind
    )
