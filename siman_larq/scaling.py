r"""Kernels of any magnitude: exact powers of two that keep the arithmetic within its range.

The magnitude code does not depend on the scale of a filter, but sums of weights above 1e37
overflow, and TensorFlow takes weights below 1.2e-38 (subnormal numbers) for 0. Filters out of the
ordinary range are moved into it, by a power of two, which loses nothing; all others stay as they
are, bit for bit and at the cost of one pass over the kernel.
"""

from typing import NamedTuple

import tensorflow as tf

__all__ = ["Scaled", "rescale", "restore", "to_float"]


class _Format(NamedTuple):
    """Of a float type: powers of two."""

    bits: tf.DType
    mantissa: int
    smallest: int  # of the subnormal numbers
    ordinary: int  # largest magnitudes from 2**-ordinary to 2**ordinary need no scale
    up: int  # for smaller ones; squares of what they become stay in range
    down: int  # for larger ones


_FORMATS = {
    tf.float32: _Format(tf.int32, 23, -149, 60, 100, 100),
    tf.float64: _Format(tf.int64, 52, -1074, 400, 700, 700),
}


class Scaled(NamedTuple):
    """Weights in the range of the arithmetic, and the columns that were moved there.

    # Attributes
        weights: Shape `(n, columns)`.
        is_small: Columns that were multiplied; shape `(columns,)`.
        is_large: Columns that were divided.
        down: The number they were divided by.
    """

    weights: tf.Tensor
    is_small: tf.Tensor
    is_large: tf.Tensor
    down: float


def to_float(kernel: tf.Tensor) -> tf.Tensor:
    """In the type of the arithmetic: float32, and float64 for kernels of that type."""
    return kernel if kernel.dtype == tf.float64 else tf.cast(kernel, tf.float32)


def rescale(weights: tf.Tensor) -> Scaled:
    """Moves every column of a float32 or float64 matrix into the range of the arithmetic.

    Columns with NaN or infinite weights keep them.
    """
    form = _FORMATS[weights.dtype]
    largest = tf.reduce_max(tf.abs(weights), axis=0)
    is_small = largest < 2.0**-form.ordinary
    is_large = largest > 2.0**form.ordinary

    def move() -> tf.Tensor:
        moved = tf.where(is_large, weights * 2.0**-form.down, weights)
        return tf.where(is_small, _lift(weights, form), moved)

    is_ordinary = ~tf.reduce_any(is_small | is_large)
    moved = tf.cond(is_ordinary, lambda: weights, move)
    return Scaled(moved, is_small, is_large, 2.0**form.down)


def restore(values: tf.Tensor, scaled: Scaled) -> tf.Tensor:
    """Takes values computed from `scaled.weights`, of 1 or 2 axes, back to the kernel's scale.

    What would become infinite becomes the largest number.
    """
    form = _FORMATS[values.dtype]

    def move() -> tf.Tensor:
        most = values.dtype.max * 2.0**-form.down
        raised = tf.clip_by_value(values, -most, most) * 2.0**form.down
        moved = tf.where(scaled.is_large, raised, values)
        return tf.where(scaled.is_small, _lower(values, form), moved)

    is_ordinary = ~tf.reduce_any(scaled.is_small | scaled.is_large)
    return tf.cond(is_ordinary, lambda: values, move)


def _lift(x: tf.Tensor, form: _Format) -> tf.Tensor:
    """`x * 2**up`; subnormal numbers by their bits, as arithmetic would take them for 0."""
    bits = tf.bitcast(x, form.bits)
    magnitude = bits & form.bits.max
    lifted = tf.cast(magnitude, x.dtype) * 2.0 ** (form.smallest + form.up)
    lifted = tf.where(bits < 0, -lifted, lifted)
    return tf.where(magnitude < 1 << form.mantissa, lifted, x * 2.0**form.up)


def _lower(x: tf.Tensor, form: _Format) -> tf.Tensor:
    """`x / 2**up`, with subnormal results."""
    bits = tf.bitcast(x, form.bits)
    steps = tf.abs(x) * 2.0 ** (-form.smallest - form.up)
    is_subnormal = steps < 1 << form.mantissa
    magnitude = tf.cast(tf.round(tf.where(is_subnormal, steps, 0.0)), form.bits)
    subnormal = tf.bitcast(magnitude | (bits & form.bits.min), x.dtype)
    return tf.where(is_subnormal, subnormal, x * 2.0**-form.up)
