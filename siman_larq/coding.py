"""What the codes of kernels have in common: levels, kernels that are codes, the gradient."""

import math
from collections.abc import Callable

import tensorflow as tf

from siman_larq.filters import Axes, checked_kernel, from_columns, to_columns
from siman_larq.scaling import Scaled, rescale, to_float
from siman_larq.standardisation import inverse_deviations, remove_mean_and_variance

__all__ = ["coded"]


def coded(
    kernel: tf.Tensor,
    levels: tuple[float, float],
    filter_axes: Axes,
    is_high_where: Callable[[tf.Tensor], tf.Tensor],
    to_standardised: Callable[[tf.Tensor, tf.Tensor], tf.Tensor],
) -> tf.Tensor:
    """A kernel's code, from its centred weights, with a gradient in the standardised ones.

    # Arguments
        kernel: Floating-point tensor of rank 1 or more with a static shape.
        levels: The two values of the code.
        filter_axes: The axes that tell filters apart, negative and ascending.
        is_high_where: From the centred weights, `(n, filters)`, the mask of the upper level.
        to_standardised: From the gradient with respect to the code, and the centred weights, that
            with respect to the standardised weights, all `(n, filters)`.

    # Returns
        Tensor of the kernel's shape and dtype.
    """

    @tf.custom_gradient
    def code(kernel):
        scaled = rescale(to_float(to_columns(kernel, filter_axes)))
        weights = scaled.weights
        mean = tf.reduce_mean(weights, axis=0)
        centred = weights - mean
        low, high = (tf.constant(level, mean.dtype) for level in levels)
        # Two passes more, where a condition is traced for 20 ms in every layer.
        is_high = tf.where(_is_code(scaled, levels), weights == high, is_high_where(centred))
        finite = tf.math.is_finite(mean)
        high, low = (tf.where(finite, level, math.nan) for level in (high, low))
        code_of_kernel = from_columns(tf.where(is_high, high, low), kernel.shape, filter_axes)

        def gradient(upstream):
            upstream = tf.cast(to_columns(upstream, filter_axes), weights.dtype)
            inverse, outer = inverse_deviations(centred, scaled)
            downstream = to_standardised(upstream, centred) * outer
            downstream = remove_mean_and_variance(downstream, centred, inverse, axes=[0])
            downstream = from_columns(downstream, kernel.shape, filter_axes)
            return tf.cast(downstream, kernel.dtype)

        return tf.cast(code_of_kernel, kernel.dtype), gradient

    # Variables of mixed-precision layers are no tensors, and a custom gradient takes tensors.
    return code(checked_kernel(kernel))


def _is_code(scaled: Scaled, levels: tuple[float, float]) -> tf.Tensor:
    """Whether all weights are levels; those of a filter that was moved are so if they are 0."""
    is_moved = scaled.is_small | scaled.is_large
    low, high = (
        tf.where(~is_moved, tf.cast(level, scaled.weights.dtype), math.nan if level else 0.0)
        for level in levels
    )
    return tf.reduce_all((scaled.weights == low) | (scaled.weights == high))
