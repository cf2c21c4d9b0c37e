r"""The arithmetic of SiMaN: pure functions on tensors, without Keras state.

Notation: a kernel has one filter per entry of its last axis (HWIO for convolutions) and \\(n\\)
weights per filter; activations have one sample per entry of their first axis.

# References
    - [SiMaN: Sign-to-Magnitude Network Binarization](https://arxiv.org/abs/2102.07981)
"""

import math
from typing import Literal

import tensorflow as tf

from siman_larq._private import compiles_with_xla
from siman_larq.order_statistics import kth_smallest, kth_smallest_overall

__all__ = [
    "EPSILON",
    "Threshold",
    "clamp_magnitudes",
    "magnitude_code",
    "ones_per_filter",
    "sample_sign",
]

Threshold = float | Literal["median", "angle"]

EPSILON = 1e-5
"""Added to variances before the square root, as in the official code."""

_LONGEST_SUM = 4096


def ones_per_filter(weights_per_filter: int, threshold: float | Literal["median"]) -> int:
    r"""Number of ones in the code of a filter without ties.

    \\[
    k = \lfloor f n \rfloor, \quad 1 \leq k \leq n - 1
    \\]

    `"median"` is the fraction \\(f = 1/2\\): the official code puts a one strictly above the
    lower median, so a filter of odd size has one more zero than ones.

    # Arguments
        weights_per_filter: \\(n\\), the number of weights of a filter.
        threshold: `"median"` or a fraction of ones in (0, 1).

    # Returns
        \\(k\\); 0 when the filter has a single weight.
    """
    fraction = 0.5 if threshold == "median" else float(threshold)
    # The small term keeps products such as 0.29 * 100 = 28.999... from losing a one.
    ones = math.floor(fraction * weights_per_filter + 1e-6)
    return min(max(ones, 1), weights_per_filter - 1)


def magnitude_code(
    kernel: tf.Tensor,
    levels: tuple[float, float] = (0.0, 1.0),
    threshold: Threshold = "median",
) -> tf.Tensor:
    r"""Codes a kernel by magnitude: per filter the larger weights become the upper level.

    \\[
    q(w) = \begin{cases}
      \texttt{levels[1]} & |w - \bar w| > t \\\
      \texttt{levels[0]} & \text{otherwise}
    \end{cases}
    \\]

    where \\(\bar w\\) is the filter's mean and \\(t\\) leaves `ones_per_filter` magnitudes above
    it (fewer when magnitudes tie at \\(t\\)). With `"angle"` the ones are the \\(k\\) largest
    magnitudes for the \\(k\\) that maximises \\(S_k / \sqrt k\\), \\(S_k\\) their sum: the code
    at the smallest angle to \\(|w - \bar w|\\). The standard deviation by which the method divides
    cannot change the order of magnitudes, so the forward pass leaves it out.

    A kernel in which every weight is one of the levels is a code already and is returned unchanged.
    A filter with a NaN or infinite weight becomes NaN.

    The gradient takes the code for \\(|w_2|\\), with \\(w_2\\) the filter standardised with the
    unbiased variance plus `EPSILON`:
    \\(\partial L / \partial w_2 = \mathrm{sign}(w_2)\, \partial L / \partial q\\), nothing clipped,
    carried on through the mean and the variance.

    # Arguments
        kernel: Floating-point tensor of rank 1 or more with a static shape.
        levels: The two values of the code.
        threshold: `"median"`, `"angle"` or a fraction of ones in (0, 1).

    # Returns
        Tensor of the kernel's shape and dtype. Computed in float32.
    """

    @tf.custom_gradient
    def code(kernel):
        weights = tf.cast(tf.reshape(kernel, [-1, kernel.shape[-1]]), tf.float32)
        mean = tf.reduce_mean(weights, axis=0)
        centred = weights - mean
        low, high = (tf.constant(level, tf.float32) for level in levels)
        is_high = tf.cond(
            tf.reduce_all((weights == low) | (weights == high)),
            lambda: weights == high,
            lambda: _is_large(tf.abs(centred), threshold),
        )
        finite = tf.math.is_finite(mean)
        high, low = (tf.where(finite, level, math.nan) for level in (high, low))
        coded = tf.cast(tf.reshape(tf.where(is_high, high, low), kernel.shape), kernel.dtype)

        def gradient(upstream):
            upstream = tf.cast(tf.reshape(upstream, weights.shape), tf.float32)
            inverse = _inverse_deviation(centred, axes=[0])
            downstream = upstream * tf.sign(centred) * inverse
            downstream = _remove_mean_and_variance(downstream, centred, inverse, axes=[0])
            return tf.cast(tf.reshape(downstream, kernel.shape), kernel.dtype)

        return coded, gradient

    # Variables of mixed-precision layers are no tensors, and a custom gradient takes tensors.
    return code(tf.convert_to_tensor(kernel))


def _is_large(magnitudes: tf.Tensor, threshold: Threshold) -> tf.Tensor:
    """The mask of ones for magnitudes of shape `(n, filters)`."""
    n = magnitudes.shape[0]
    if threshold != "angle":
        ones = ones_per_filter(n, threshold)
        return magnitudes > kth_smallest(tf.transpose(magnitudes), n - ones)
    descending = tf.sort(tf.transpose(magnitudes), axis=1, direction="DESCENDING")
    counts = tf.range(1, n + 1, dtype=tf.float64)
    cosines = tf.cumsum(tf.cast(descending, tf.float64), axis=1) / tf.sqrt(counts)
    smallest = tf.gather(descending, tf.argmax(cosines, axis=1), axis=1, batch_dims=1)
    # A zero never raises the cosine; without the second term a filter of zeros would be all ones.
    return (magnitudes >= smallest) & (magnitudes > 0)


def clamp_magnitudes(kernel: tf.Tensor, percent: tf.Tensor | float) -> tf.Tensor:
    r"""Takes the mean off every filter and clamps magnitudes to percentiles of the whole kernel.

    \\[
    v = w - \bar w, \quad
    c(w) = \mathrm{sign}(v) \min(\max(|v|, P_{p}(|v|)), P_{100 - p}(|v|))
    \\]

    \\(P_p\\) is the p-th percentile over all filters together, with linear interpolation between
    order statistics. Weights at their filter's mean stay 0.

    # Arguments
        kernel: Floating-point tensor of rank 1 or more with a static shape, filters last.
        percent: \\(p\\), a scalar in [0, 50).

    # Returns
        Tensor of the kernel's shape and dtype. Computed in float32.
    """
    weights = tf.cast(tf.reshape(kernel, [-1, kernel.shape[-1]]), tf.float32)
    centred = weights - tf.reduce_mean(weights, axis=0)

    def clamp() -> tf.Tensor:
        magnitudes = tf.abs(centred)
        low, high = (_percentile(magnitudes, p) for p in (percent, 100 - percent))
        return tf.sign(centred) * tf.clip_by_value(magnitudes, low, high)

    # float64: a float32 position has no fraction left in a kernel of millions of weights.
    percent = tf.cast(percent, tf.float64)
    clamped = tf.cond(percent > 0, clamp, lambda: centred)
    return tf.cast(tf.reshape(clamped, kernel.shape), kernel.dtype)


def _percentile(x: tf.Tensor, percent: tf.Tensor) -> tf.Tensor:
    """Linearly interpolated percentile (a float64) over all of `x`, a float32 matrix."""
    position = percent / 100 * (x.shape.num_elements() - 1)
    below = tf.floor(position)
    lower, upper = kth_smallest_overall(x, tf.cast(below, tf.int32) + 1)
    return lower + (upper - lower) * tf.cast(position - below, tf.float32)


def sample_sign(activations: tf.Tensor, zero: int = 0) -> tf.Tensor:
    r"""The sign of activations about the mean of their sample.

    \\[
    q(a) = \mathrm{sign}(a - \bar a)
    \\]

    \\(\bar a\\) is the mean over all axes but the first. The method divides by the sample's
    standard deviation too, which cannot change a sign; it appears in the gradient only, where
    \\(a_1 = (a - \bar a) / s\\) with the unbiased variance plus `EPSILON`:
    \\(\partial L / \partial a_1 = \max(0, 2 - 2 |a_1|)\, \partial L / \partial q\\), carried on
    through the mean and the variance.

    # Arguments
        activations: Floating-point tensor of rank 2 or more.
        zero: Value of \\(\mathrm{sign}(0)\\): 0 as in the official code, or 1.

    # Returns
        Tensor of the same shape and dtype. Computed in float32.
    """
    axes = list(range(1, activations.shape.rank))

    @tf.custom_gradient
    def sign(activations):
        values = tf.cast(activations, tf.float32)
        centred = values - _sample_mean(values, axes, in_steps=zero == 1)
        signs = tf.sign(centred)
        if zero == 1:
            # In this form LCE recognises the sign and packs it.
            signs = tf.sign(signs + 0.1)

        def gradient(upstream):
            inverse = _inverse_deviation(centred, axes)
            # k max(0, s - |a|) with a = centred, s its deviation and k = 2 / s^2: the slope in
            # units of the outgoing gradient, in few passes over the activations.
            slope = tf.nn.relu(2 * inverse - tf.abs(centred) * (2 * tf.square(inverse)))
            downstream = slope * tf.cast(upstream, tf.float32)
            downstream = _remove_mean_and_variance(downstream, centred, inverse, axes)
            return tf.cast(downstream, activations.dtype)

        return tf.cast(signs, activations.dtype), gradient

    return sign(tf.convert_to_tensor(activations))


def _sample_mean(values: tf.Tensor, axes: list[int], in_steps: bool) -> tf.Tensor:
    if in_steps and (values.shape[1:].num_elements() or 0) > _LONGEST_SUM:
        # TFLite adds up one value after the other in float32; in long sums that moves the mean
        # and turns signs. Short sums, of channels and then over channels, do not, and are faster.
        values = tf.reduce_mean(values, axis=axes[:-1], keepdims=True)
        axes = axes[-1:]
    return tf.reduce_mean(values, axis=axes, keepdims=True)


def _inverse_deviation(centred: tf.Tensor, axes: list[int]) -> tf.Tensor:
    if compiles_with_xla():
        squares = tf.reduce_sum(tf.square(centred), axis=axes, keepdims=True)
    else:
        # One pass less, by an op that XLA does not know.
        norm = tf.math.reduce_euclidean_norm(centred, axis=axes, keepdims=True)
        squares = tf.square(norm)
    return tf.math.rsqrt(squares / _degrees_of_freedom(centred, axes) + EPSILON)


def _remove_mean_and_variance(
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
    count = tf.reduce_prod(tf.gather(tf.shape(x), axes))
    return tf.cast(tf.maximum(count - 1, 1), tf.float32)
