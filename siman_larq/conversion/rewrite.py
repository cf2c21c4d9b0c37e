"""Exactly equal forms of convolutions that LCE does not pack or computes wrongly."""

from typing import Any

import numpy as np
import tensorflow as tf

__all__ = ["Packable"]


class Packable(tf.keras.layers.Conv2D):
    r"""Mixin for baked convolutions: computes the same in 1-bit convolutions.

    A kernel \\(B \in \\{0, 1\\}\\), with \\(2B - 1\\) in `kernel`, becomes
    \\[
    a * B = \tfrac{1}{2} \left( a * (2B - 1) + a * 1 \right)
    \\]
    with one filter of ones per group in the second term. Zero `"same"` padding on a map smaller
    than the kernel becomes one-padding minus a constant,
    \\[
    a *_0 B = a *_1 B - \sum_{\text{taps outside}} B
    \\]

    # Attributes
        code: The coded kernel as it is in the model, HWIO.
        is_zero_one: Whether the code's levels are 0 and 1.
        rewrites_small_maps: Whether to rewrite zero padding on small maps.
    """

    code: np.ndarray
    is_zero_one = False
    rewrites_small_maps = False

    def convolution_op(self, inputs: tf.Tensor, kernel: tf.Tensor) -> tf.Tensor:
        kernel = tf.convert_to_tensor(kernel)
        padding, outside = self.padding.upper(), None
        if self.rewrites_small_maps and self._is_small(inputs.shape):
            sides = self._same_padding(inputs.shape)
            outside = self._sum_outside(inputs.shape, sides)
            inputs = tf.pad(inputs, sides, constant_values=1.0)
            padding = "VALID"
        outputs = self._convolve(inputs, kernel, padding)
        if self.is_zero_one:
            outputs = 0.5 * outputs + 0.5 * self._plain_sums(inputs, padding)
        return outputs if outside is None else outputs - outside

    def _convolve(self, inputs: Any, kernel: Any, padding: str) -> tf.Tensor:
        return tf.nn.convolution(inputs, kernel, list(self.strides), padding, "NHWC",
                                 list(self.dilation_rate))

    def _plain_sums(self, inputs: tf.Tensor, padding: str) -> tf.Tensor:
        ones = np.ones((*self.code.shape[:3], self.groups), np.float32)
        sums = self._convolve(inputs, tf.constant(ones), padding)
        if self.groups == 1:
            return sums
        return tf.gather(sums, np.repeat(range(self.groups), self.filters // self.groups), axis=-1)

    def _reach(self) -> list[int]:
        """Height and width that the dilated kernel spans."""
        return [(k - 1) * d + 1 for k, d in zip(self.kernel_size, self.dilation_rate, strict=True)]

    def _is_small(self, shape: tf.TensorShape) -> bool:
        sides = zip(shape[1:3], self._reach(), strict=True)
        return any(size is not None and size < reach for size, reach in sides)

    def _same_padding(self, shape: tf.TensorShape) -> list[list[int]]:
        sides = [[0, 0]]
        for size, stride, reach in zip(shape[1:3], self.strides, self._reach(), strict=True):
            total = max((-(-size // stride) - 1) * stride + reach - size, 0)
            sides.append([total // 2, total - total // 2])
        return [*sides, [0, 0]]

    def _sum_outside(self, shape: tf.TensorShape, sides: list[list[int]]) -> np.ndarray:
        # Eager, so that the graph holds the result as a constant.
        with tf.init_scope():
            channels = self.code.shape[2] * self.groups
            inside = np.zeros((1, *shape[1:3], channels), np.float32)
            border = np.pad(inside, sides, constant_values=1)
            return self._convolve(border, self.code, "VALID").numpy()
