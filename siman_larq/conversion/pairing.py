"""Which binary convolution of a file is which call of a layer of its model."""

from collections import defaultdict, deque
from dataclasses import dataclass

import larq as lq
import numpy as np
import tensorflow as tf

from siman_larq.conversion.flatbuffer import BinaryConvolution, codes_of
from siman_larq.conversion.packing import layer_key

__all__ = ["Pair", "paired"]


@dataclass(frozen=True)
class Pair:
    """A call of a layer, and the binary convolution of a file that stands for it.

    # Attributes
        call: The call's number, in the order in which the model calls its layers.
        layer: The layer.
        convolution: The convolution.
        wrong_codes: How many bits of its kernel are not the layer's.
    """

    call: int
    layer: lq.layers.QuantConv2D
    convolution: BinaryConvolution
    wrong_codes: int


def paired(
    model: tf.keras.Model,
    calls: list[lq.layers.QuantConv2D],
    convolutions: list[BinaryConvolution],
) -> list[Pair]:
    """The calls that are 1-bit ops in a file, in the file's order.

    A file keeps no names of layers, but their kernels. Calls with equal kernels are paired in
    their order. What is left then has a kernel of another layer or file, and is paired in order by
    its shape. Convolutions with ones, which are part of the form of the levels (0, 1), are none.

    # Raises
        ValueError: for a file with a binary convolution that the model lacks.
    """
    keys = {id(layer): layer_key(layer) for layer in calls}
    waiting: dict[bytes, deque[int]] = defaultdict(deque)
    for call, layer in enumerate(calls):
        waiting[keys[id(layer)]].append(call)
    by_node: dict[int, int] = {}
    for convolution in convolutions:
        if waiting[convolution.key]:
            by_node[convolution.node] = waiting[convolution.key].popleft()
    unpaired = sorted(call for rest in waiting.values() for call in rest)
    for convolution in convolutions:
        if convolution.node in by_node or not codes_of(convolution.key).any():
            continue
        shape = convolution.kernel_shape
        fitting = [c for c in unpaired if codes_of(keys[id(calls[c])]).shape == shape]
        if not fitting:
            raise ValueError(
                f"verify: this file is of another model: operator {convolution.node} is a binary "
                f"convolution with a kernel of {' x '.join(map(str, shape))} (filters, height, "
                f"width, channels), and model {model.name!r} has no such layer left for it."
            )
        unpaired.remove(fitting[0])
        by_node[convolution.node] = fitting[0]
    return [
        Pair(
            by_node[convolution.node],
            layer := calls[by_node[convolution.node]],
            convolution,
            _wrong_codes(codes_of(keys[id(layer)]), codes_of(convolution.key)),
        )
        for convolution in convolutions
        if convolution.node in by_node
    ]


def _wrong_codes(ours: np.ndarray, theirs: np.ndarray) -> int:
    """Bits that differ, where all of a filter may be turned."""
    differing = np.count_nonzero(ours != theirs, axis=(1, 2, 3))
    return int(np.minimum(differing, ours[0].size - differing).sum())
