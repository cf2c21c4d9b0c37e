"""Which layers of a Keras model are binary, and what of them becomes a 1-bit op."""

from collections.abc import Iterator

import larq as lq
import numpy as np
import tensorflow as tf

__all__ = [
    "binary_kernel",
    "binary_layers",
    "is_binary",
    "is_zero_one",
    "lacks_binary_input",
    "small_map_layers",
    "why_float",
]

_QUANTIZERS = ("kernel_quantizer", "depthwise_quantizer", "pointwise_quantizer")


def is_binary(layer: tf.keras.layers.Layer) -> bool:
    """Whether a layer has a kernel of precision 1."""
    return any(getattr(getattr(layer, q, None), "precision", None) == 1 for q in _QUANTIZERS)


def binary_layers(model: tf.keras.Model) -> list[tf.keras.layers.Layer]:
    """All layers of a model, also of models within it, that have a kernel of precision 1."""
    return [layer for layer in _leaves(model) if is_binary(layer)]


def _leaves(model: tf.keras.Model) -> Iterator[tf.keras.layers.Layer]:
    for layer in model.layers:
        if isinstance(layer, tf.keras.Model):
            yield from _leaves(layer)
        else:
            yield layer
            # Those in wrappers and composite layers stay as they are, but must not be overlooked.
            yield from (part for part in layer.submodules if is_binary(part))


def binary_kernel(layer: tf.keras.layers.Layer) -> np.ndarray | None:
    """The quantized kernel of a 2-D convolution, HWIO; `None` for other layers."""
    if not isinstance(layer, lq.layers.QuantConv2D):
        return None
    with lq.context.quantized_scope(True):
        return layer.kernel.numpy()


def is_zero_one(kernel: np.ndarray) -> bool:
    """Whether a kernel is coded in {0, 1}."""
    return bool(np.isin(kernel, (0.0, 1.0)).all()) and not kernel.all()


def small_map_layers(model: tf.keras.Model) -> list[tf.keras.layers.Layer]:
    """Binary convolutions with zero padding on maps that are smaller than their kernel."""
    return [layer for layer in binary_layers(model) if _has_small_maps(layer)]


def _has_small_maps(layer: tf.keras.layers.Layer) -> bool:
    if not isinstance(layer, lq.layers.QuantConv2D) or layer.padding != "same":
        return False
    if float(layer.pad_values) != 0:
        return False
    reach = [(k - 1) * d + 1 for k, d in zip(layer.kernel_size, layer.dilation_rate, strict=True)]
    nodes = range(len(layer.inbound_nodes))
    shapes = [layer.get_input_shape_at(node)[1:3] for node in nodes]
    return any(
        size is not None and size < extent
        for shape in shapes
        for size, extent in zip(shape, reach, strict=True)
    )


def lacks_binary_input(layer: tf.keras.layers.Layer) -> bool:
    """Whether a layer does not make its inputs 1-bit itself."""
    return getattr(getattr(layer, "input_quantizer", None), "precision", None) != 1


def why_float(layer: tf.keras.layers.Layer) -> str:
    """Why a binary layer stayed float, and the cure."""
    kind = type(layer).__name__
    if isinstance(layer, lq.layers.QuantDense):
        return f"LCE has no 1-bit op for {kind}; use a QuantConv2D with a 1x1 kernel"
    if not isinstance(layer, lq.layers.QuantConv2D):
        return f"LCE has no 1-bit op for {kind}; use QuantConv2D, or leave the layer float"
    bits = getattr(layer.input_quantizer, "precision", None)
    if layer.input_quantizer is None:
        return "its inputs are not binary; give it an input_quantizer such as 'sample_sign'"
    if bits != 1:
        return f"its input quantizer has precision {bits}; LCE packs 1-bit inputs only"
    if layer.data_format != "channels_last":
        return "LCE converts data_format='channels_last' only"
    kernel = np.abs(np.asarray(binary_kernel(layer))).reshape(-1, layer.filters)
    if kernel.min() == 0 or (kernel.max(axis=0) > 1.005 * kernel.min(axis=0)).any():
        return "its quantized weights differ in magnitude within a filter; LCE keeps signs only"
    return "LCE's converter did not recognise its quantizers; use those of Larq or siman_larq"
