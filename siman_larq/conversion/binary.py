"""Which layers of a Keras model are binary, and what of them becomes a 1-bit op."""

from collections.abc import Iterator

import larq as lq
import numpy as np
import tensorflow as tf

from siman_larq._scopes import quantized
from siman_larq.layers import SiMaNConv2D

__all__ = [
    "binary_kernel",
    "binary_layers",
    "fits_one_bit",
    "has_own_convolution",
    "is_binary",
    "is_zero_one",
    "lacks_binary_input",
    "leaves",
    "why_float",
]

_QUANTIZERS = ("kernel_quantizer", "depthwise_quantizer", "pointwise_quantizer")


def is_binary(layer: tf.Module) -> bool:
    """Whether a layer has a kernel of precision 1."""
    return any(getattr(getattr(layer, q, None), "precision", None) == 1 for q in _QUANTIZERS)


def binary_layers(model: tf.keras.Model) -> list[tf.keras.layers.Layer]:
    """All layers of a model that have a kernel of precision 1, once each.

    Also those of models within it, in wrappers and in layers of one's own.
    """
    return list({id(layer): layer for layer in leaves(model) if is_binary(layer)}.values())


def leaves(model: tf.keras.Model) -> Iterator[tf.Module]:
    """The layers of a model and what is within them, in its order; some more than once."""
    for layer in model.layers:
        if isinstance(layer, tf.keras.Model):
            yield from leaves(layer)
        else:
            yield layer
            yield from layer.submodules
    if model.inputs is None:
        # Keras lists only some of what a subclassed model has in its attributes.
        yield from model.submodules


def binary_kernel(layer: tf.keras.layers.Layer) -> np.ndarray | None:
    """The quantized kernel of a 2-D convolution, HWIO; `None` for other layers."""
    if not isinstance(layer, lq.layers.QuantConv2D):
        return None
    with quantized(True):
        return np.asarray(tf.convert_to_tensor(layer.kernel))


def is_zero_one(kernel: np.ndarray) -> bool:
    """Whether a kernel is coded in {0, 1}."""
    return bool(np.isin(kernel, (0.0, 1.0)).all()) and not kernel.all()


def fits_one_bit(kernel: np.ndarray) -> bool:
    """Whether a kernel's weights are 0 and 1, or +c and -c in each filter, its last axis.

    LCE packs kernels of up to 0.5 % more than that, and loses the difference.
    """
    magnitudes = np.abs(kernel).reshape(-1, kernel.shape[-1])
    least, most = magnitudes.min(axis=0), magnitudes.max(axis=0)
    return is_zero_one(kernel) or bool((least > 0).all() and (most <= least * (1 + 1e-6)).all())


def has_own_convolution(layer: tf.keras.layers.Layer) -> bool:
    """Whether a subclass computes its convolution in another way than Larq and SiMaN do."""
    known = (lq.layers.QuantConv2D.convolution_op, SiMaNConv2D.convolution_op)
    return type(layer).convolution_op not in known


def lacks_binary_input(layer: tf.keras.layers.Layer) -> bool:
    """Whether a layer does not make its inputs 1-bit itself."""
    return getattr(getattr(layer, "input_quantizer", None), "precision", None) != 1


def why_float(
    layer: tf.keras.layers.Layer, has_signs: bool | None = None, has_fixed_sizes: bool = True
) -> str:
    """Why a binary layer stayed float, and the cure.

    # Arguments
        layer: The layer.
        has_signs: Whether its inputs were seen to be -1 and +1 and nothing else, if they were.
        has_fixed_sizes: Whether the model takes inputs of one size alone.
    """
    kind = type(layer).__name__
    if isinstance(layer, lq.layers.QuantDense):
        return f"LCE has no 1-bit op for {kind}; use a QuantConv2D with a 1x1 kernel"
    if not isinstance(layer, lq.layers.QuantConv2D):
        return f"LCE has no 1-bit op for {kind}; use QuantConv2D, or leave the layer float"
    bits = getattr(layer.input_quantizer, "precision", None)
    if layer.input_quantizer is None and not has_signs:
        return "its inputs are not binary; give it an input_quantizer such as 'sample_sign'"
    if layer.input_quantizer is not None and bits != 1 and not has_signs:
        return f"its input quantizer has precision {bits}; LCE packs 1-bit inputs only"
    if layer.padding == "same" and layer.pad_values not in (0, 1):
        return f"it pads with {float(layer.pad_values):g}, and LCE with 0 or 1; use pad_values=1"
    if has_signs is False:
        return (
            "its inputs take other values than -1 and +1, which one bit cannot hold; use "
            "input_quantizer='ste_sign' or 'sample_sign'"
        )
    if layer.data_format != "channels_last":
        return "LCE converts data_format='channels_last' only; use that, or leave the layer float"
    kernel = np.asarray(binary_kernel(layer))
    if is_zero_one(kernel) and has_own_convolution(layer):
        return (
            f"{kind} has a convolution_op of its own, and the form in which levels (0, 1) are "
            "packed is known for those of QuantConv2D and SiMaNConv2D only; use levels (-1, 1)"
        )
    if not fits_one_bit(kernel):
        return "its quantized weights differ in magnitude within a filter; LCE keeps signs only"
    if has_own_convolution(layer):
        return (
            f"{kind} has a convolution_op of its own, after which the kernel is no constant of -1 "
            "and +1; scale the outputs in place of the kernel"
        )
    is_padded = layer.padding == "same" and layer.pad_values != 0
    if not has_fixed_sizes and (is_padded or max(layer.dilation_rate) > 1):
        return (
            "LCE packs dilated kernels, and padding with other values than 0 in strides, for maps "
            "of a known size only; give the model inputs of a fixed size"
        )
    return "LCE's converter did not recognise its quantizers; use those of Larq or siman_larq"
