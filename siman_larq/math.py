r"""The arithmetic of SiMaN: pure functions on tensors, without Keras state.

Notation: a kernel has one filter per entry of its last axis (HWIO for convolutions), or of the
`filter_axes` given, and \\(n\\) weights per filter; activations have one sample per entry of
their first axis.

# References
    - [SiMaN: Sign-to-Magnitude Network Binarization](https://arxiv.org/abs/2102.07981)
"""

import math
from typing import Literal

import tensorflow as tf

from siman_larq.coding import coded
from siman_larq.filters import Axes, checked_kernel, from_columns, to_columns
from siman_larq.order_statistics import kth_smallest, kth_smallest_overall
from siman_larq.scaling import rescale, restore, to_float
from siman_larq.standardisation import (
    EPSILON,
    inverse_deviation,
    remove_mean_and_variance,
)

__all__ = [
    "EPSILON",
    "Tails",
    "Threshold",
    "clamp_magnitudes",
    "magnitude_code",
    "mean_magnitude",
    "ones_per_filter",
    "sample_sign",
    "sign_code",
]

Threshold = float | Literal["median", "angle"]
Tails = Literal["both", "upper"]

_LONGEST_SUM = 4096

# All conditions on tensors are spelled out; AutoGraph would look for some, a second a process.
_as_it_is = tf.autograph.experimental.do_not_convert


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


@_as_it_is
def magnitude_code(
    kernel: tf.Tensor,
    levels: tuple[float, float] = (0.0, 1.0),
    threshold: Threshold = "median",
    filter_axes: Axes = (-1,),
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

    Nor can any other scale: filters of the smallest and largest numbers are coded as well.

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
        filter_axes: The axes that tell filters apart, negative and ascending.

    # Returns
        Tensor of the kernel's shape and dtype. Computed in float32, for float64 kernels in float64.

    # Raises
        TypeError: for kernels of other types.
        ValueError: for kernels without weights, or of a shape that is not static.
    """

    def is_high(centred: tf.Tensor) -> tf.Tensor:
        return _is_large(tf.abs(centred), threshold)

    return coded(kernel, levels, filter_axes, is_high, lambda g, centred: g * tf.sign(centred))


@_as_it_is
def sign_code(
    kernel: tf.Tensor,
    levels: tuple[float, float] = (-1.0, 1.0),
    balanced: bool = False,
    filter_axes: Axes = (-1,),
) -> tf.Tensor:
    r"""Codes a kernel by sign: per filter the weights from its mean upwards become the upper level.

    \\[
    q(w) = \begin{cases}
      \texttt{levels[1]} & w \geq \bar w \\\
      \texttt{levels[0]} & \text{otherwise}
    \end{cases}
    \\]

    The balanced code puts the upper level strictly above the filter's lower median instead: on
    \\(\lfloor n/2 \rfloor\\) weights, ties aside. All else is as in `magnitude_code`, but the
    gradient, which takes the code for \\(w_2\\) itself:
    \\(\partial L / \partial w_2 = \partial L / \partial q\\).

    # Arguments
        kernel: Floating-point tensor of rank 1 or more with a static shape.
        levels: The two values of the code.
        balanced: Whether the larger half of a filter's weights has the upper level.
        filter_axes: The axes that tell filters apart, negative and ascending.

    # Returns
        Tensor of the kernel's shape and dtype. Computed in float32, for float64 kernels in float64.

    # Raises
        TypeError: for kernels of other types.
        ValueError: for kernels without weights, or of a shape that is not static.

    # References
        - [Equal Bits: Enforcing Equally Distributed Binary Network
          Weights](https://arxiv.org/abs/2112.03406)
    """

    def is_high(centred: tf.Tensor) -> tf.Tensor:
        return _is_large(centred, "median") if balanced else centred >= 0

    return coded(kernel, levels, filter_axes, is_high, lambda g, _: g)


def _is_large(magnitudes: tf.Tensor, threshold: Threshold) -> tf.Tensor:
    """The mask of ones for magnitudes, or other values, of shape `(n, filters)`."""
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


@_as_it_is
def clamp_magnitudes(
    kernel: tf.Tensor,
    percent: tf.Tensor | float,
    filter_axes: Axes = (-1,),
    tails: Tails = "both",
) -> tf.Tensor:
    r"""Takes the mean off every filter and clamps magnitudes to percentiles of the whole kernel.

    \\[
    v = w - \bar w, \quad
    c(w) = \mathrm{sign}(v) \min(\max(|v|, P_{p}(|v|)), P_{100 - p}(|v|))
    \\]

    \\(P_p\\) is the p-th percentile over all filters together, with linear interpolation between
    order statistics. Weights at their filter's mean stay 0.

    # Arguments
        kernel: Floating-point tensor of rank 1 or more with a static shape.
        percent: \\(p\\), a scalar in [0, 50).
        filter_axes: The axes that tell filters apart, negative and ascending.
        tails: `"both"`, or `"upper"`: magnitudes below \\(P_p\\) stay as they are.

    # Returns
        Tensor of the kernel's shape and dtype. Computed in float32, for float64 kernels in float64.

    # Raises
        TypeError: for kernels of other types.
        ValueError: for kernels without weights, or of a shape that is not static.
    """
    kernel = checked_kernel(kernel)
    weights = to_float(to_columns(kernel, filter_axes))
    # One scale for all filters, since they share the percentiles.
    scaled = rescale(tf.reshape(weights, [-1, 1]))
    weights = tf.reshape(scaled.weights, weights.shape)
    centred = weights - tf.reduce_mean(weights, axis=0)

    def clamp() -> tf.Tensor:
        magnitudes = tf.abs(centred)
        kept = tf.minimum(magnitudes, _percentile(magnitudes, 100 - percent))
        if tails == "both":
            kept = tf.maximum(kept, _percentile(magnitudes, percent))
        return tf.sign(centred) * kept

    # float64: a float32 position has no fraction left in a kernel of millions of weights.
    percent = tf.cast(percent, tf.float64)
    clamped = restore(tf.cond(percent > 0, clamp, lambda: centred), scaled)
    return tf.cast(from_columns(clamped, kernel.shape, filter_axes), kernel.dtype)


def mean_magnitude(kernel: tf.Tensor) -> tf.Tensor:
    r"""The mean of \\(|w|\\) over each filter.

    # Arguments
        kernel: Floating-point tensor of rank 1 or more with a static shape, filters last.

    # Returns
        Tensor of shape `(filters,)` and type float32, or float64 for float64 kernels.
    """
    scaled = rescale(to_float(to_columns(checked_kernel(kernel))))
    return restore(tf.reduce_mean(tf.abs(scaled.weights), axis=0), scaled)


def _percentile(x: tf.Tensor, percent: tf.Tensor) -> tf.Tensor:
    """Linearly interpolated percentile (a float64) over all of `x`, a matrix."""
    count = x.shape.num_elements()
    if count == 1:
        return tf.reshape(x, [])
    position = percent / 100 * (count - 1)
    # The last has none above it.
    below = tf.minimum(tf.floor(position), count - 2)
    lower, upper = kth_smallest_overall(x, tf.cast(below, tf.int32) + 1)
    return lower + (upper - lower) * tf.cast(position - below, x.dtype)


@_as_it_is
def sample_sign(activations: tf.Tensor, zero: int = 0, width: float = 1.0) -> tf.Tensor:
    r"""The sign of activations about the mean of their sample.

    \\[
    q(a) = \mathrm{sign}(a - \bar a)
    \\]

    \\(\bar a\\) is the mean over all axes but the first. The method divides by the sample's
    standard deviation too, which cannot change a sign; it appears in the gradient only, where
    \\(a_1 = (a - \bar a) / s\\) with the unbiased variance plus `EPSILON`:
    \\[
    \frac{\partial L}{\partial a_1} =
    \frac{1}{\omega} \max\left(0, 2 - \frac{2 |a_1|}{\omega}\right)
    \frac{\partial L}{\partial q}
    \\]
    carried on through the mean and the variance. Whatever the width \\(\omega\\), its integral is
    2, by which the sign rises.

    # Arguments
        activations: Floating-point tensor of rank 2 or more; integers and booleans are taken as
            float32.
        zero: Value of \\(\mathrm{sign}(0)\\): 0 as in the official code, or 1.
        width: \\(\omega\\), in standard deviations; 1 in the official code.

    # Returns
        Tensor of the same shape and floating-point dtype. Computed in float32, for float64
        activations in float64. With `zero=0`, samples without a finite mean give NaN.

    # Raises
        TypeError: for activations without a sign, such as complex numbers.
    """
    activations = tf.convert_to_tensor(activations)
    if not activations.dtype.is_floating:
        if not (activations.dtype.is_integer or activations.dtype.is_bool):
            raise TypeError(
                f"Activations of type {activations.dtype.name} have no sign; give real numbers."
            )
        activations = tf.cast(activations, tf.float32)
    axes = list(range(1, activations.shape.rank))

    @tf.custom_gradient
    def sign(activations):
        values = to_float(activations)
        mean = _sample_mean(values, axes, in_steps=zero == 1)
        if zero == 0:
            # Not so in the form that is converted. Too large a sum would make all signs the same.
            mean = tf.where(tf.math.is_finite(mean), mean, math.nan)
        centred = values - mean
        signs = tf.sign(centred)
        if zero == 1:
            # In this form LCE recognises the sign and packs it.
            signs = tf.sign(signs + 0.1)

        def gradient(upstream):
            inverse = inverse_deviation(centred, axes, EPSILON)
            # k max(0, s - |a|) with a = centred, s its deviation and k = 2 / s^2: the slope in
            # units of the outgoing gradient, in few passes over the activations.
            # A wider one is that of a larger deviation.
            narrow = inverse / width
            slope = tf.nn.relu(2 * narrow - tf.abs(centred) * (2 * tf.square(narrow)))
            downstream = slope * tf.cast(upstream, values.dtype)
            downstream = remove_mean_and_variance(downstream, centred, inverse, axes)
            return tf.cast(downstream, activations.dtype)

        return tf.cast(signs, activations.dtype), gradient

    return sign(activations)


def _sample_mean(values: tf.Tensor, axes: list[int], in_steps: bool) -> tf.Tensor:
    if in_steps and (values.shape[1:].num_elements() or 0) > _LONGEST_SUM:
        # TFLite adds up one value after the other in float32; in long sums that moves the mean
        # and turns signs. Short sums, of channels and then over channels, do not, and are faster.
        values = tf.reduce_mean(values, axis=axes[:-1], keepdims=True)
        axes = axes[-1:]
    return tf.reduce_mean(values, axis=axes, keepdims=True)
