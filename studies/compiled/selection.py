"""Exact order statistics in few kernels of a GPU, where XLA's sort takes a hundred for a layer."""

import tensorflow as tf

__all__ = ["kth_smallest", "kth_smallest_overall"]

_SMALL = 1 << 17


def kth_smallest(x: tf.Tensor, k: int | tf.Tensor) -> tf.Tensor:
    """As `siman_larq.order_statistics.kth_smallest`, for rows of some hundred elements.

    The k-th smallest is the largest element that fewer than k elements are smaller than.
    """
    smaller = tf.cast(x[:, tf.newaxis, :] < x[:, :, tf.newaxis], tf.int32)
    return tf.reduce_max(tf.where(tf.reduce_sum(smaller, axis=2) < k, x, x.dtype.min), axis=1)


def kth_smallest_overall(x: tf.Tensor, k: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """As `siman_larq.order_statistics.kth_smallest_overall`, digit by digit.

    The bits of a non-negative float32, taken for an integer, are in the order of the floats.
    """
    keys = tf.bitcast(tf.reshape(x, [-1, 1]), tf.int32)
    ranks = tf.stack([k, k + 1])[:, tf.newaxis]
    found = tf.zeros([2, 1], tf.int32)
    # More bits at a time are fewer kernels, and more work in each.
    bits = 8 if keys.shape[0] < _SMALL else 4
    for shift in range(32 - bits, -1, -bits):
        # The highest bit is the sign.
        digits = tf.range(1, 2 ** min(bits, 31 - shift))[tf.newaxis]
        least = found + tf.bitwise.left_shift(digits, shift)
        smaller = tf.cast(keys < tf.reshape(least, [1, -1]), tf.int32)
        counts = tf.reshape(tf.reduce_sum(smaller, axis=0), least.shape)
        digit = tf.reduce_sum(tf.cast(counts < ranks, tf.int32), axis=1, keepdims=True)
        found += tf.bitwise.left_shift(digit, shift)
    lower, upper = tf.unstack(tf.bitcast(found[:, 0], tf.float32))
    return lower, upper
