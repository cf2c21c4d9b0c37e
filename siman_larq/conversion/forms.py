"""Equal forms of binary convolutions that LCE packs, and computes rightly."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import larq as lq
import numpy as np
import tensorflow as tf

from siman_larq._private import paddings_of_any_map
from siman_larq.conversion.binary import binary_kernel, has_own_convolution, is_zero_one
from siman_larq.conversion.errors import ConversionError
from siman_larq.conversion.patches import Patch
from siman_larq.layers import SiMaNConv2D

__all__ = ["Observed", "convolution_patches", "observed"]

Convolution = Callable[[tf.Tensor, Any], tf.Tensor]


@dataclass
class Observed:
    """What went into a binary convolution while its model ran.

    # Attributes
        layer: The layer.
        kernel: Its kernel as quantized, HWIO.
        has_signs: Whether all its inputs were -1 or +1.
        has_small_maps: Whether it padded with zeros on a map that is smaller than its kernel.
        has_unknown_maps: Whether it pads with zeros on maps of unknown size.
    """

    layer: lq.layers.QuantConv2D
    kernel: np.ndarray
    has_signs: bool = True
    has_small_maps: bool = False
    has_unknown_maps: bool = False


def observed(layer: lq.layers.QuantConv2D) -> tuple[Observed, Patch]:
    """A record of a layer's inputs, and the patch with which it is filled in eager mode."""
    record = Observed(layer, np.asarray(binary_kernel(layer)))
    convolve = layer.convolution_op

    def convolution_op(inputs: tf.Tensor, kernel: Any) -> tf.Tensor:
        record.has_signs &= bool(tf.reduce_all(tf.abs(inputs) == 1))
        record.has_small_maps |= _is_small(layer, inputs.shape)
        return convolve(inputs, kernel)

    return record, (layer, "convolution_op", convolution_op)


def _is_small(layer: lq.layers.QuantConv2D, shape: tf.TensorShape) -> bool:
    """Whether zeros are padded around a map smaller than the kernel."""
    return any(n is not None and n < reach for n, reach in _padded(layer, shape))


def _padded(layer: lq.layers.QuantConv2D, shape: tf.TensorShape) -> list[tuple[int | None, int]]:
    """Height and width of a map padded with zeros, each with the kernel's reach."""
    # While a layer pads with other values, Larq has its padding at "valid".
    if layer.padding != "same" or layer.data_format != "channels_last":
        return []
    reach = [(k - 1) * d + 1 for k, d in zip(layer.kernel_size, layer.dilation_rate, strict=True)]
    return list(zip(shape[1:3], reach, strict=True))


def convolution_patches(
    records: list[Observed], rewrite_small_maps: bool, kept_float: set[int]
) -> list[Patch]:
    """What takes the place of convolutions while a graph is made for LCE.

    # Arguments
        records: The binary convolutions of the model.
        rewrite_small_maps: Whether zero padding on maps smaller than the kernel becomes padding
            with ones minus a constant.
        kept_float: Identities of layers that LCE would pack although it must not.
    """
    forms = [(record, _form(record, rewrite_small_maps, kept_float)) for record in records]
    patches = [(record.layer, "convolution_op", _watching(record, form)) for record, form in forms]
    return patches + [patch for record in records for patch in _constant_paddings(record.layer)]


def _constant_paddings(layer: lq.layers.QuantConv2D) -> list[Patch]:
    """Padding with other values than 0, as LCE packs it, where the size of the map is no matter."""
    sides = zip(layer.strides, layer.kernel_size, strict=True)
    is_known = all(stride == 1 or kernel == 1 for stride, kernel in sides)
    is_last = layer.data_format == "channels_last"
    if layer.padding != "same" or layer.pad_values == 0 or not (is_known and is_last):
        return []
    return paddings_of_any_map(layer, _padding(layer, [1, 1]))


def _watching(record: Observed, form: Convolution) -> Convolution:
    def convolution_op(inputs: tf.Tensor, kernel: Any) -> tf.Tensor:
        maps = _padded(record.layer, inputs.shape)
        record.has_unknown_maps |= any(n is None and reach > 1 for n, reach in maps)
        return form(inputs, kernel)

    return convolution_op


def _form(record: Observed, rewrite: bool, kept_float: set[int]) -> Convolution:
    layer = record.layer
    if id(layer) in kept_float:
        return _unrecognised(layer)
    kernel = record.kernel
    zero_one = is_zero_one(kernel)
    small = rewrite and record.has_small_maps
    if not record.has_signs or not (zero_one or small) or layer.data_format != "channels_last":
        return layer.convolution_op
    if not has_own_convolution(layer):
        return _rewritten(layer, kernel, zero_one, small)
    if small:
        raise ConversionError(
            f"Layer {layer.name!r} is a {type(layer).__name__} with a convolution_op of its own. "
            "small_maps='rewrite' puts an equal form in its place, known for QuantConv2D and "
            "SiMaNConv2D only; use one of these, pad_values=1 or larger images."
        )
    return layer.convolution_op


def _unrecognised(layer: lq.layers.QuantConv2D) -> Convolution:
    convolve = layer.convolution_op

    def convolution_op(inputs: tf.Tensor, kernel: Any) -> tf.Tensor:
        # Changes nothing, but LCE no longer takes the inputs for signs.
        return convolve(tf.maximum(inputs, inputs.dtype.min), kernel)

    return convolution_op


def _rewritten(
    layer: lq.layers.QuantConv2D, code: np.ndarray, zero_one: bool, small: bool
) -> Convolution:
    r"""The convolution with a code of one bit.

    With {0, 1}, \\(a * B = \frac{1}{2} (a * (2B - 1) + a * 1)\\), where the kernel of ones has a
    single filter.
    """
    signs = 2 * code - 1 if zero_one else code
    # Grouped, every filter has inputs of its own and needs its own sum.
    ones = np.ones((*code.shape[:3], 1 if layer.groups == 1 else code.shape[3]), np.float32)

    def convolution_op(inputs: tf.Tensor, _: Any) -> tf.Tensor:
        outputs = _convolve(layer, inputs, signs, small)
        if zero_one:
            if max(layer.dilation_rate) > 1:
                # LCE sees a dilated convolution only where nothing else uses its inputs.
                inputs = lq.math.sign(2.0 * inputs)
            outputs = 0.5 * (outputs + _convolve(layer, inputs, ones, small))
        return layer.scaled(outputs) if isinstance(layer, SiMaNConv2D) else outputs

    return convolution_op


def _convolve(
    layer: lq.layers.QuantConv2D, inputs: tf.Tensor, kernel: np.ndarray, small: bool
) -> tf.Tensor:
    if not (small and _is_small(layer, inputs.shape)):
        return tf.keras.layers.Conv2D.convolution_op(layer, inputs, tf.constant(kernel))
    settings = {"strides": layer.strides, "dilations": layer.dilation_rate}
    before_after = _padding(layer, inputs.shape[1:3])
    padded = tf.pad(inputs, before_after, constant_values=1.0)
    outputs = tf.nn.convolution(padded, tf.constant(kernel), padding="VALID", **settings)
    # Where the padding is +1 it adds the weights that lie outside; take them off again.
    with tf.init_scope():
        ones = tf.ones([1, *inputs.shape[1:]])
        inside = tf.nn.convolution(ones, kernel, padding="SAME", **settings).numpy()
    outside = kernel.sum(axis=(0, 1, 2)) - inside
    if outside.shape[1:3] == (1, 1):
        return outputs - outside.reshape(-1)
    # As rows: LCE would take a constant behind the convolution for a bias per filter.
    rows = tf.reshape(outputs, [-1, outside.size])
    return tf.reshape(rows - outside.reshape(1, -1), [-1, *outside.shape[1:]])


def _padding(layer: lq.layers.QuantConv2D, sizes: Sequence[int]) -> list[list[int]]:
    """What "same" pads around maps of a height and width, as TensorFlow does it."""
    sides = []
    for size, kernel, stride, rate in zip(
        sizes, layer.kernel_size, layer.strides, layer.dilation_rate, strict=True
    ):
        total = max((-(-size // stride) - 1) * stride + (kernel - 1) * rate + 1 - size, 0)
        sides.append([total // 2, total - total // 2])
    return [[0, 0], *sides, [0, 0]]
