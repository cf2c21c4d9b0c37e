"""What the networks share: shortcuts, stems, normalisation and classifier.

Layers carry the names of the official code's modules, so that figures and weights can be
compared. Two things follow TensorFlow's padding: on even maps a stride-2 `"same"` convolution
looks at rows and columns 1, 3, 5, ..., so shortcuts take these too. The networks equal the
official ones on images and kernels turned by 180 degrees.
"""

from collections.abc import Callable
from typing import Any

import larq as lq
import tensorflow as tf

from siman_larq.choices import is_whole

__all__ = [
    "Activation",
    "ChannelPaddedShortcut",
    "ChannelShift",
    "ConvLayer",
    "RPReLU",
    "batch_norm",
    "centres",
    "check_shape",
    "float_conv",
    "he_normal",
    "pooled_classifier",
    "prelu",
    "residual_block",
    "rprelu",
]

ConvLayer = Callable[..., Callable[[tf.Tensor], tf.Tensor]]
Activation = Callable[[str], tf.keras.layers.Layer]


def he_normal(mode: str = "fan_in") -> tf.keras.initializers.Initializer:
    """A fresh initializer: an unseeded instance gives the same values each time."""
    return tf.keras.initializers.VarianceScaling(2.0, mode, "untruncated_normal")


@lq.utils.register_keras_custom_object
class ChannelPaddedShortcut(tf.keras.layers.Layer):
    """Parameter-free ("option A") shortcut: subsamples maps, pads channels with zeros.

    Takes the rows and columns at the centres of a stride-2, 3x3, `"same"` convolution (1, 3, 5,
    ... on even maps) and pads zero channels equally on both sides.

    # Arguments
        filters: Number of output channels; exceeds that of the input by an even number.

    # Input shape
        `(batch, height, width, channels)`, all but the batch known.

    # Output shape
        `(batch, ceil(height / 2), ceil(width / 2), filters)`

    # Raises
        ValueError: when built, for other numbers of channels and for sizes that are not known.
    """

    def __init__(self, filters: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.filters = filters

    def build(self, input_shape: Any) -> None:
        shape = tuple(input_shape)
        if len(shape) != 4 or None in shape[1:]:
            raise ValueError(
                f"ChannelPaddedShortcut: inputs of shape {shape} are not supported; give maps "
                "(batch, height, width, channels) of a known size."
            )
        if self.filters < shape[3] or (self.filters - shape[3]) % 2:
            raise ValueError(
                f"ChannelPaddedShortcut: filters={self.filters!r} cannot be had from "
                f"{shape[3]} channels by as many zeros on both sides; give {shape[3]} and an even "
                "number more."
            )
        super().build(input_shape)

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        _, height, width, channels = inputs.shape
        pad = (self.filters - channels) // 2
        kept = inputs[:, (height + 1) % 2 :: 2, (width + 1) % 2 :: 2, :]
        return tf.pad(kept, [[0, 0], [0, 0], [0, 0], [pad, pad]])

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "filters": self.filters}


@lq.utils.register_keras_custom_object
class ChannelShift(tf.keras.layers.Layer):
    r"""Adds a learned number to every channel: \\(y_c = x_c + \beta_c\\), from \\(\beta = 0\\).

    Before `siman_larq.SampleSign` it moves each channel's threshold, as ReActNet's RSign does. A
    file holds one float32 number per channel for it, and an addition over the maps.

    # Input shape
        `(batch, ..., channels)`

    # Output shape
        That of the input.

    # References
        - [ReActNet: Towards Precise Binary Neural Network with Generalized Activation
          Functions](https://arxiv.org/abs/2003.03488)
    """

    def build(self, input_shape: Any) -> None:
        super().build(input_shape)
        self.shift = self.add_weight("shift", (input_shape[-1],), initializer="zeros")

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        return inputs + self.shift


@lq.utils.register_keras_custom_object
class RPReLU(tf.keras.layers.PReLU):
    r"""PReLU with a learned shift per channel before and after it.

    \\[
    y_c = \mathrm{PReLU}_c(x_c - \gamma_c) + \zeta_c
    \\]
    from \\(\gamma = \zeta = 0\\), where it is PReLU. A file holds two float32 numbers more per
    channel, and two additions over the maps.

    # Arguments
        kwargs: As for `tf.keras.layers.PReLU`.

    # Input shape
        `(batch, ..., channels)`

    # Output shape
        That of the input.

    # References
        - [ReActNet: Towards Precise Binary Neural Network with Generalized Activation
          Functions](https://arxiv.org/abs/2003.03488)
    """

    def build(self, input_shape: Any) -> None:
        super().build(input_shape)
        channels = (input_shape[-1],)
        self.before = self.add_weight("before", channels, initializer="zeros")
        self.after = self.add_weight("after", channels, initializer="zeros")

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        return super().call(inputs - self.before) + self.after


def centres(x: tf.Tensor, name: str) -> tf.Tensor:
    """Crops maps so that their rows and columns 0, 2, ... are the centres of a 3x3 convolution."""
    _, height, width, _ = x.shape
    crop = (((height + 1) % 2, 0), ((width + 1) % 2, 0))
    return tf.keras.layers.Cropping2D(crop, name=name)(x)


def residual_block(
    x: tf.Tensor,
    shortcut: tf.Tensor,
    conv: ConvLayer,
    filters: int,
    strides: int,
    block: str,
    activation: Activation,
    gamma: float = 1.0,
) -> tf.Tensor:
    """Two times PReLU(BN(conv(x)) + shortcut), the second time with the first's outcome."""
    for position, step in ((1, strides), (2, 1)):
        y = conv(
            filters,
            3,
            strides=step,
            kernel_initializer=he_normal(),
            name=f"{block}.conv{position}",
        )(x)
        y = batch_norm(f"{block}.bn{position}", gamma)(y)
        y = tf.keras.layers.Add(name=f"{block}.add{position}")([y, shortcut])
        x = shortcut = activation(f"{block}.nonlinear{position}")(y)
    return x


def check_shape(input_shape: tuple[int, int, int], num_classes: int, smallest: int) -> None:
    """Raises a ValueError for what no network here can be built with."""
    shape = tuple(input_shape) if isinstance(input_shape, list | tuple) else ()
    if len(shape) != 3 or any(not is_whole(n) or n < 1 for n in shape):
        raise ValueError(f"input_shape={input_shape!r} must be (height, width, channels).")
    if min(shape[:2]) < smallest:
        raise ValueError(
            f"input_shape={input_shape!r} is too small: this network halves its maps until a "
            f"side below {smallest} has nothing left; use at least {smallest} x {smallest}."
        )
    if not is_whole(num_classes) or num_classes < 2:
        raise ValueError(f"num_classes={num_classes!r} must be 2 or more, and whole.")


def float_conv(
    filters: int, initializer: Any, name: str = "conv1", size: int = 3, strides: int = 1
) -> tf.keras.layers.Layer:
    """A convolution with real weights and no bias."""
    return tf.keras.layers.Conv2D(
        filters,
        size,
        strides=strides,
        padding="same",
        use_bias=False,
        kernel_initializer=initializer,
        name=name,
    )


def batch_norm(name: str, gamma: float = 1.0) -> tf.keras.layers.Layer:
    """Batch normalisation with PyTorch's constants; `gamma` is where the scale starts."""
    return tf.keras.layers.BatchNormalization(
        momentum=0.9,
        epsilon=1e-5,
        gamma_initializer=tf.keras.initializers.Constant(gamma),
        name=name,
    )


def prelu(name: str, kind: type[tf.keras.layers.PReLU] | None = None) -> tf.keras.layers.Layer:
    """PReLU per channel, from PyTorch's 0.25."""
    slope = tf.keras.initializers.Constant(0.25)
    kind = kind or tf.keras.layers.PReLU
    return kind(alpha_initializer=slope, shared_axes=[1, 2], name=name)


def rprelu(name: str) -> tf.keras.layers.Layer:
    """RPReLU, from where `prelu` starts."""
    return prelu(name, RPReLU)


def pooled_classifier(x: tf.Tensor, num_classes: int) -> tf.Tensor:
    """Average pool, normalised features, logits."""
    # Normalised as a 1x1 map: only on maps does Keras put the unbiased variance, as PyTorch does,
    # into the running one.
    x = tf.keras.layers.GlobalAveragePooling2D(keepdims=True, name="pool")(x)
    x = tf.keras.layers.Flatten(name="flatten")(batch_norm("bn2")(x))
    return tf.keras.layers.Dense(
        num_classes, kernel_initializer=he_normal(), dtype="float32", name="linear"
    )(x)
