"""Layers, quantizers and models as users write them, for the random networks."""

from typing import Any

import larq as lq
import tensorflow as tf

from siman_larq import SiMaNConv2D, SiMaNQuantizer

register = lq.utils.register_keras_custom_object


def shown(value: Any) -> Any:
    """A value of a layer's options as text."""
    if isinstance(value, tf.keras.layers.Layer):
        config = {k: v for k, v in value.get_config().items() if k not in ("name", "trainable")}
        return f"{type(value).__name__}{config}"
    return getattr(value, "__name__", value)


def sign_function(x: tf.Tensor) -> tf.Tensor:
    return lq.math.sign(x)


def four_bits(w: tf.Tensor) -> tf.Tensor:
    return tf.floor(7 * tf.clip_by_value(w, -1.0, 1.0) + 0.5) / 7


def flipped(x: tf.Tensor) -> tf.Tensor:
    return tf.reverse(x, axis=[2])


@register
class OwnSign(lq.quantizers.Quantizer):
    """As the guide of Larq tells to write one."""

    precision = 1

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        return lq.math.sign(inputs)


@register
class Gain(lq.layers.QuantConv2D):
    """A gain within the convolution."""

    def convolution_op(self, inputs: tf.Tensor, kernel: tf.Tensor) -> tf.Tensor:
        return 1.7 * super().convolution_op(inputs, kernel)


@register
class SiMaNGain(SiMaNConv2D):
    def convolution_op(self, inputs: tf.Tensor, kernel: tf.Tensor) -> tf.Tensor:
        return 1.7 * super().convolution_op(inputs, kernel)


@register
class Standardised(lq.layers.QuantConv2D):
    """Takes each filter's mean off, so that its weights are no signs."""

    def convolution_op(self, inputs: tf.Tensor, kernel: tf.Tensor) -> tf.Tensor:
        kernel = tf.convert_to_tensor(kernel)
        kernel -= tf.reduce_mean(kernel, axis=[0, 1, 2], keepdims=True)
        return super().convolution_op(inputs, kernel)


class Doubled(lq.layers.QuantConv2D):
    """With a call of its own; not registered."""

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        return 2 * super().call(inputs)


@register
class SiMaNShifted(SiMaNConv2D):
    """With a weight and a call of its own."""

    def build(self, input_shape: Any) -> None:
        super().build(input_shape)
        self.shift = self.add_weight("shift", (self.filters,))

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        return super().call(inputs) + tf.cast(self.shift, self.compute_dtype)


@register
class Plain(SiMaNConv2D):
    """Changes nothing but its defaults."""

    def __init__(self, filters: int, kernel_size: Any = 3, **kwargs: Any) -> None:
        super().__init__(filters, kernel_size, **kwargs)


QUANT_SUBCLASSES = [Gain, Standardised, Doubled]
SIMAN_SUBCLASSES = [SiMaNGain, SiMaNShifted, Plain]


@register
class Affine(tf.keras.layers.Layer):
    """A bias or a scale of the shape (1, 1, 1, channels), as ReActNet has."""

    def __init__(self, is_scale: bool = False, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.is_scale = is_scale

    def build(self, input_shape: Any) -> None:
        self.value = self.add_weight("value", (1, 1, 1, input_shape[-1]))

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        value = tf.cast(self.value, inputs.dtype)
        return inputs * value if self.is_scale else inputs + value

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "is_scale": self.is_scale}


class UnregisteredResidual(tf.keras.layers.Layer):
    """A block with a binary convolution in it."""

    def __init__(self, levels: Any = (-1, 1), **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.levels = levels
        self.norm = tf.keras.layers.BatchNormalization()

    def build(self, input_shape: Any) -> None:
        self.conv = SiMaNConv2D(
            input_shape[-1], 3, kernel_quantizer=SiMaNQuantizer(levels=self.levels)
        )
        super().build(input_shape)

    def call(self, inputs: tf.Tensor, training: bool = False) -> tf.Tensor:
        return inputs + self.norm(self.conv(inputs), training=training)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "levels": list(self.levels)}


@register
class Residual(UnregisteredResidual):
    """The same, registered."""


class Derived(tf.keras.Model):
    """A functional model by another name."""


class Subclassed(tf.keras.Model):
    """A model that is a call."""

    def __init__(self, filters: int) -> None:
        super().__init__()
        self.conv = SiMaNConv2D(filters, 3)
        self.norm = tf.keras.layers.BatchNormalization()
        self.head = tf.keras.layers.Dense(3)

    def call(self, inputs: tf.Tensor, training: bool = False) -> tf.Tensor:
        x = self.norm(self.conv(inputs), training=training)
        return self.head(tf.reduce_mean(x, axis=[1, 2]))


class Wrapper(tf.keras.Model):
    """A subclass around a functional model."""

    def __init__(self, inner: tf.keras.Model) -> None:
        super().__init__()
        self.inner = inner

    def call(self, inputs: Any, training: bool = False) -> Any:
        return self.inner(inputs, training=training)
