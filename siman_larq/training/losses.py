"""Losses for classes given as integers."""

import larq as lq
import tensorflow as tf

__all__ = ["SmoothedCrossentropy"]


@lq.utils.register_keras_custom_object
class SmoothedCrossentropy(tf.keras.losses.CategoricalCrossentropy):
    r"""Cross-entropy with smoothed labels, for integers as labels.

    The target of an image of class y, with C classes, is
    \\[
    t_c = (1 - s) \, [c = y] + s / C
    \\]
    Keras' sparse loss has no such setting, and the one that has it wants one-hot labels.

    # Arguments
        label_smoothing: \\(s\\), in [0, 1).
        kwargs: As for `tf.keras.losses.CategoricalCrossentropy`.

    # References
        - [Rethinking the Inception Architecture for Computer
          Vision](https://arxiv.org/abs/1512.00567)
    """

    def call(self, y_true: tf.Tensor, y_pred: tf.Tensor) -> tf.Tensor:
        labels = tf.reshape(tf.cast(y_true, tf.int32), [-1])
        return super().call(tf.one_hot(labels, y_pred.shape[-1]), y_pred)
