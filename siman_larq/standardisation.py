"""Standardisation, as its gradients need it."""

import math

import tensorflow as tf

from siman_larq._private import compiles_with_xla
from siman_larq.scaling import Scaled

__all__ = ["EPSILON", "inverse_deviation", "inverse_deviations", "remove_mean_and_variance"]

EPSILON = 1e-5
"""Added to variances before the square root, as in the official code."""

_TINY = 1e-36


def inverse_deviation(centred: tf.Tensor, axes: list[int], epsilon: tf.Tensor | float) -> tf.Tensor:
    """1 / s, from values less their mean; the variance is the unbiased one."""
    if compiles_with_xla():
        squares = tf.reduce_sum(tf.square(centred), axis=axes, keepdims=True)
    else:
        # One pass less, by an op that XLA does not know.
        norm = tf.math.reduce_euclidean_norm(centred, axis=axes, keepdims=True)
        squares = tf.square(norm)
    return tf.math.rsqrt(squares / _degrees_of_freedom(centred, axes) + epsilon)


def inverse_deviations(centred: tf.Tensor, scaled: Scaled) -> tuple[tf.Tensor, tf.Tensor]:
    """1 / s of each filter: in the scale of `centred`, and in that of the kernel."""
    epsilon = tf.cast(EPSILON, centred.dtype)
    # Beside such large weights EPSILON is nothing, and only has to keep 1 / 0 out.
    inverse = inverse_deviation(centred, [0], tf.where(~scaled.is_large, epsilon, _TINY))
    outer = tf.where(scaled.is_large, inverse / scaled.down, inverse)
    # Beside EPSILON such small weights are nothing: less than its last digit.
    is_small = scaled.is_small[tf.newaxis]
    return (
        tf.where(is_small, tf.zeros_like(inverse), inverse),
        tf.where(is_small, tf.math.rsqrt(epsilon), outer),
    )


def remove_mean_and_variance(
    upstream: tf.Tensor, centred: tf.Tensor, inverse: tf.Tensor, axes: list[int]
) -> tf.Tensor:
    r"""Gradient through \\(z = (x - \bar x) / s\\).

    Given \\(g / s\\), \\(x - \bar x\\) and \\(1 / s\\), where g is the gradient with respect to z:
    \\[
    d = (g - z \sum g z / (m - 1)) / s, \quad \partial L / \partial x = d - \bar d
    \\]
    The mean of \\(d\\) is that of \\(g / s\\), because \\(z\\) sums to 0.
    """
    mean = tf.reduce_mean(upstream, axis=axes, keepdims=True)
    along = tf.reduce_sum(upstream * centred, axis=axes, keepdims=True)
    along *= tf.square(inverse) / _degrees_of_freedom(centred, axes)
    return upstream - (centred * along + mean)


def _degrees_of_freedom(x: tf.Tensor, axes: list[int]) -> tf.Tensor:
    # A single element has no variance; the 1 keeps 0 / 0 out.
    lengths = [x.shape[axis] for axis in axes]
    if None not in lengths:  # Ten ops less to trace in every layer.
        return tf.constant(max(math.prod(lengths) - 1, 1), x.dtype)
    count = tf.reduce_prod(tf.gather(tf.shape(x), axes))
    return tf.cast(tf.maximum(count - 1, 1), x.dtype)
