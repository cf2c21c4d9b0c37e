"""Float ops of a file that read bits: what Larq Compute Engine has no 1-bit op for."""

from dataclasses import dataclass

import numpy as np
import tensorflow as tf

from siman_larq._scopes import quantized
from siman_larq.conversion.flatbuffer import TFLiteFile

__all__ = ["FloatOnBits", "filters_of", "float_ops_on_bits"]

# Of each op the axis of its kernel that counts filters.
_FILTERS = {"FULLY_CONNECTED": 0, "CONV_2D": 0, "DEPTHWISE_CONV_2D": 3}


@dataclass(frozen=True)
class FloatOnBits:
    """A float op of a file right behind an LceDequantize.

    # Attributes
        node: The number of the LceDequantize among the operators.
        maps: Shape of what it makes of the bits.
        filters: The op's kernel, a row for each filter.
    """

    node: int
    maps: tuple[int, ...]
    filters: np.ndarray


def float_ops_on_bits(file: TFLiteFile) -> list[FloatOnBits]:
    """All of a file, in its order."""
    tensors, float32 = file.graph.tensors, file.schema.TensorType.FLOAT32
    opened = {
        int(operator.outputs[0]): node
        for node, operator in enumerate(file.graph.operators)
        if file.operators[node] == "LceDequantize"
    }
    found = []
    for name, operator in zip(file.operators, file.graph.operators, strict=True):
        if name not in _FILTERS or int(operator.inputs[0]) not in opened:
            continue
        maps, words = (int(index) for index in operator.inputs[:2])
        content = file.constant(words)
        if tensors[words].type != float32 or not content:
            continue
        kernel = np.frombuffer(content, np.float32).reshape(tensors[words].shape)
        filters = np.moveaxis(kernel, _FILTERS[name], 0)
        shape = tuple(int(n) for n in tensors[maps].shape)
        found.append(FloatOnBits(opened[maps], shape, filters.reshape(len(filters), -1)))
    return found


def filters_of(layer: tf.keras.layers.Layer) -> np.ndarray:
    """A layer's kernel, as it is quantized, a row for each filter; none for layers without one."""
    depthwise = getattr(layer, "depthwise_kernel", None)
    kernel = getattr(layer, "kernel", None) if depthwise is None else depthwise
    if kernel is None:
        return np.zeros((0, 0), np.float32)
    with quantized(True):
        values = np.asarray(tf.convert_to_tensor(kernel), np.float32)
    if depthwise is not None:  # each channel has filters of its own
        values = values.reshape(*values.shape[:2], -1)
    return values.reshape(-1, values.shape[-1]).T
