"""Exact order statistics of large tensors.

Sorting the 2.4 million weights of a 3x3x512x512 kernel at every step costs as much as the rest of
the layer. Selection does not order the other weights: TensorFlow's kernel for it runs in linear
time, over the few candidates that a sample leaves where the rank is sought over a whole kernel.
That kernel exists for the CPU alone and XLA does not know it; elsewhere a sort gives the same
values.
"""

import tensorflow as tf

from siman_larq._private import compiles_with_xla

__all__ = ["kth_smallest", "kth_smallest_overall"]

# A tensor of fewer elements than this is searched as it is.
_LARGE = 1 << 16
_SAMPLE = 1 << 14


def kth_smallest(x: tf.Tensor, k: int | tf.Tensor) -> tf.Tensor:
    r"""The k-th smallest element \\(x_{(k)}\\) of every row.

    # Arguments
        x: Tensor of shape `(rows, n)`.
        k: Rank, `1 <= k <= n`, an integer or int32 scalar.

    # Returns
        Tensor of shape `(rows,)` and the dtype of `x`.
    """
    if _must_sort():
        return tf.gather(tf.sort(x, axis=1), k - 1, axis=1)
    return tf.raw_ops.NthElement(input=x, n=k - 1)


def kth_smallest_overall(x: tf.Tensor, k: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    r"""The order statistics \\(x_{(k)}\\) and \\(x_{(k + 1)}\\) over all elements.

    # Arguments
        x: Non-negative tensor of a static shape with fewer than 2**31 elements.
        k: int32 scalar, at least 1 and below the number of elements.

    # Returns
        Two scalars of the dtype of `x`.
    """
    flat = tf.reshape(x, [-1])
    if flat.shape[0] >= _LARGE and not _must_sort():
        flat, k = _candidates(flat, k)
    return kth_smallest(flat[tf.newaxis], k)[0], kth_smallest(flat[tf.newaxis], k + 1)[0]


def _candidates(x: tf.Tensor, k: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """The elements about rank `k`, and that rank among them; all of them should the sample err."""
    # An odd stride visits every filter when their number is a power of two.
    sample = tf.sort(x[:: (x.shape[0] // _SAMPLE) | 1])
    fraction = tf.cast(k, tf.float32) / x.shape[0]
    middle = fraction * sample.shape[0]
    margin = 4 * tf.sqrt(middle * (1 - fraction)) + 2
    first = tf.cast(middle - margin, tf.int32)
    last = tf.cast(middle + margin, tf.int32)
    low = tf.where(first < 0, tf.zeros([], x.dtype), sample[tf.maximum(first, 0)])
    end = sample.shape[0] - 1
    high = tf.where(last > end, x.dtype.max, sample[tf.minimum(last, end)])
    near = tf.boolean_mask(x, (x >= low) & (x <= high))
    rank = k - tf.math.count_nonzero(x < low, dtype=tf.int32)
    return tf.cond(
        (rank >= 1) & (rank < tf.size(near)), lambda: (near, rank), lambda: (x, tf.identity(k))
    )


def _must_sort() -> bool:
    return compiles_with_xla() or bool(tf.config.list_logical_devices("GPU"))
