"""Codes of kernels: bits, and the levels that they stand for."""

from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf
from larq.quantized_variable import QuantizedVariable

from siman_larq._scopes import quantized

__all__ = ["Recode", "Split", "equal", "name_of", "quantizer_of", "read_dtype", "recoder", "split"]

Recode = Callable[[np.ndarray], np.ndarray]
Split = tuple[np.ndarray, np.ndarray, tuple[int, ...]]


class _Reader(tf.keras.layers.Layer):
    """Reads a weight as a layer of its policy does: mixed precision rounds it first."""

    def __init__(self, read: Callable[[], tf.Tensor], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._read = read

    def call(self, _: tf.Tensor) -> tf.Tensor:
        return self._read()


def read_dtype(layer: tf.keras.layers.Layer, variable: QuantizedVariable) -> tf.DType:
    """The type in which a layer hands latent weights to their quantizer."""

    def read() -> tf.Tensor:
        with quantized(False):
            return tf.convert_to_tensor(variable)

    return _Reader(read, dtype=layer.dtype_policy)(tf.zeros(())).dtype


def recoder(layer: tf.keras.layers.Layer, variable: QuantizedVariable) -> Recode:
    """The function that makes the code of latent weights, as a layer does it when it is called."""
    dtype = read_dtype(layer, variable)

    def recode(latent: np.ndarray) -> np.ndarray:
        rounded = tf.cast(tf.constant(latent, variable.dtype), dtype)
        return np.asarray(variable.quantizer(rounded)).astype(variable.dtype.as_numpy_dtype)

    return recode


def quantizer_of(variable: QuantizedVariable) -> tuple[str, int]:
    """The class of a weight's quantizer, or the function, and its precision."""
    return name_of(variable.quantizer), variable.precision or 32


def name_of(quantizer: Any) -> str:
    """The class of a quantizer, or of a function its own name."""
    return getattr(quantizer, "__name__", type(quantizer).__name__)


def equal(a: np.ndarray, b: np.ndarray) -> bool:
    """Whether two arrays are the same bit for bit, also NaN and the signs of zeros."""
    return a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes()


def split(code: np.ndarray, recode: Recode, axes: tuple[int, ...]) -> Split | str:
    """The bits of a code and levels from which a quantizer makes the same code again.

    # Arguments
        code: The code of a kernel, finite.
        recode: From `recoder`.
        axes: The axes of the kernel that tell filters apart.

    # Returns
        Bits, boolean, levels as in `Stored`, and the axes that these go by; or why there are none.
    """
    low, high = code.min(), code.max()
    # Of a code with a single value the bits are its sign.
    bits = code == high if low < high else code > 0
    levels = np.array([low, high], np.float32)
    found = axes
    if not equal(np.where(bits, levels[1], levels[0]).astype(code.dtype), code):
        for found in dict.fromkeys([axes, (-1,)]):  # scales of Larq's go by the last axis
            others = tuple(axis for axis in range(-code.ndim, 0) if axis not in found)
            ends = [end(code, axis=others, keepdims=True) for end in (np.min, np.max)]
            bits, levels = code == ends[1], np.array(ends, np.float32)
            if equal(np.where(bits, levels[1], levels[0]).astype(code.dtype), code):
                break
        else:
            return "its filters have more than two levels"
        if levels.size >= code.size:
            return "its filters are too small to have levels of their own"
    if not equal(recode(code), code):
        return "its quantizer makes another code of the code"
    return bits, levels, found
