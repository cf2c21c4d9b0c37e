"""Which binary layers of a model are 1-bit ops in a file."""

from collections import Counter

import numpy as np
import tensorflow as tf

from siman_larq.conversion.binary import binary_kernel, binary_layers, lacks_binary_input
from siman_larq.conversion.flatbuffer import TFLiteFile, kernel_key

__all__ = ["key_of", "layer_key", "packed_layers"]


def packed_layers(
    model: tf.keras.Model, tflite: bytes | TFLiteFile
) -> tuple[list[tf.keras.layers.Layer], list[tf.keras.layers.Layer]]:
    """The binary layers of a model that are 1-bit ops in a file, and those that are not.

    A layer is packed if a binary convolution in the file has its kernel and no float one has.
    Where layers have equal kernels, and the file has that kernel as a float convolution too, the
    layers are told apart by whether they make their inputs binary.
    """
    file = tflite if isinstance(tflite, TFLiteFile) else TFLiteFile(tflite)
    packed_keys = {convolution.key for convolution in file.binary_convolutions}
    floats = Counter(file.float_kernels())
    layers = binary_layers(model)
    left = set()
    # Of layers with equal kernels those that cannot be packed come first.
    for layer in sorted(layers, key=lacks_binary_input, reverse=True):
        key = layer_key(layer)
        if key not in packed_keys or floats[key] > 0:
            left.add(id(layer))
            floats[key] -= 1
    return (
        [layer for layer in layers if id(layer) not in left],
        [layer for layer in layers if id(layer) in left],
    )


def layer_key(layer: tf.keras.layers.Layer) -> bytes:
    """The key of a layer's kernel in files; empty for layers that cannot be packed."""
    kernel = binary_kernel(layer)
    return b"" if kernel is None else key_of(kernel)


def key_of(kernel: np.ndarray) -> bytes:
    """The key that a quantized kernel, HWIO, has in files."""
    return kernel_key(np.transpose(kernel, (3, 0, 1, 2)) <= 0)
