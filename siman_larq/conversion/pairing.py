"""Which op of a file that reads bits is which call of a layer of its model."""

from collections import defaultdict, deque
from dataclasses import dataclass

import numpy as np
import tensorflow as tf

from siman_larq.conversion.binary import is_binary
from siman_larq.conversion.flatbuffer import BinaryConvolution, TFLiteFile, codes_of
from siman_larq.conversion.float_ops import FloatOnBits, filters_of, float_ops_on_bits
from siman_larq.conversion.packing import layer_key

__all__ = ["Pair", "paired"]


@dataclass(frozen=True)
class Pair:
    """A call of a layer, and the op of a file that stands for it.

    # Attributes
        call: The call's number, in the order in which the model calls its layers.
        layer: The layer.
        node: The number of the operator that the bits go into: a binary convolution, or an
            LceDequantize in front of a float op.
        maps: Shape of what the op reads, bits in words or floats.
        channels: Its last axis in bits.
        sums: How large the sums of each filter may become, without the layer's scales.
        is_float: Whether it is a float op.
        wrong_codes: How many signs of its kernel are not the layer's.
    """

    call: int
    layer: tf.keras.layers.Layer
    node: int
    maps: tuple[int, ...]
    channels: int
    sums: np.ndarray
    is_float: bool
    wrong_codes: int


def paired(
    model: tf.keras.Model, calls: list[tf.keras.layers.Layer], file: TFLiteFile
) -> list[Pair]:
    """The calls that are ops on bits in a file, in the file's order.

    A file keeps no names of layers, but their kernels. Calls with equal kernels are paired in
    their order. What is left then has a kernel of another layer or file, and is paired in order by
    its shape. Convolutions with ones, which are part of the form of the levels (0, 1), are none;
    nor are float ops that no call fits.

    # Raises
        ValueError: for a file with a binary convolution that the model lacks.
    """
    pairs = _binary_pairs(model, calls, file.binary_convolutions)
    taken = {pair.call for pair in pairs}
    left = {call: layer for call, layer in enumerate(calls) if call not in taken}
    pairs += _float_pairs(left, float_ops_on_bits(file))
    return sorted(pairs, key=lambda pair: pair.node)


def _binary_pairs(
    model: tf.keras.Model,
    calls: list[tf.keras.layers.Layer],
    convolutions: list[BinaryConvolution],
) -> list[Pair]:
    keys = {call: layer_key(layer) for call, layer in enumerate(calls) if is_binary(layer)}
    waiting: dict[bytes, deque[int]] = defaultdict(deque)
    for call, key in keys.items():
        waiting[key].append(call)
    by_node: dict[int, int] = {}
    for convolution in convolutions:
        if waiting[convolution.key]:
            by_node[convolution.node] = waiting[convolution.key].popleft()
    unpaired = sorted(call for rest in waiting.values() for call in rest)
    for convolution in convolutions:
        if convolution.node in by_node or not codes_of(convolution.key).any():
            continue
        shape = convolution.kernel_shape
        fitting = [call for call in unpaired if codes_of(keys[call]).shape == shape]
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
            calls[by_node[convolution.node]],
            convolution.node,
            convolution.maps,
            channels=convolution.options["channels_in"],
            sums=np.full(1, np.prod(convolution.kernel_shape[1:]), np.float32),
            is_float=False,
            wrong_codes=_wrong_codes(
                codes_of(keys[by_node[convolution.node]]), codes_of(convolution.key)
            ),
        )
        for convolution in convolutions
        if convolution.node in by_node
    ]


def _wrong_codes(ours: np.ndarray, theirs: np.ndarray) -> int:
    """Bits that differ, where all of a filter may be turned."""
    differing = np.count_nonzero(ours != theirs, axis=(1, 2, 3))
    return int(np.minimum(differing, ours[0].size - differing).sum())


def _float_pairs(
    calls: dict[int, tf.keras.layers.Layer], operators: list[FloatOnBits]
) -> list[Pair]:
    kernels = {call: filters_of(layer) for call, layer in calls.items()}
    pairs: dict[int, Pair] = {}
    for may_differ in (False, True):
        for number, operator in enumerate(operators):
            fitting = (
                call
                for call, filters in kernels.items()
                if filters.shape == operator.filters.shape
                and (may_differ or not _wrong_signs(filters, operator.filters))
            )
            if number not in pairs and (call := next(fitting, None)) is not None:
                pairs[number] = _float_pair(call, calls[call], operator, kernels.pop(call))
    return list(pairs.values())


def _float_pair(
    call: int, layer: tf.keras.layers.Layer, operator: FloatOnBits, filters: np.ndarray
) -> Pair:
    return Pair(
        call,
        layer,
        operator.node,
        operator.maps,
        channels=operator.maps[-1],
        sums=np.abs(filters).sum(axis=1),
        is_float=True,
        wrong_codes=_wrong_signs(filters, operator.filters),
    )


def _wrong_signs(ours: np.ndarray, theirs: np.ndarray) -> int:
    """Weights with another sign, where all of a filter may be turned, or 0 by a scale of 0."""
    ours, theirs = (np.sign(filters).astype(np.int8) for filters in (ours, theirs))
    same, turned = (np.count_nonzero(ours != signs, axis=1) for signs in (theirs, -theirs))
    return int(np.minimum(same, turned)[theirs.any(axis=1)].sum())
