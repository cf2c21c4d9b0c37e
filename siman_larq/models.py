"""The paper's CIFAR networks, as the official code defines them.

Layers carry the names of the official code's modules, so that figures and weights can be
compared. Two things follow TensorFlow's padding: on even maps a stride-2 `"same"` convolution
looks at rows and columns 1, 3, 5, ..., so shortcuts take these too. The networks equal the
official ones on images and kernels turned by 180 degrees.
"""

from collections.abc import Callable
from typing import Any

import larq as lq
import tensorflow as tf

from siman_larq.layers import SiMaNConv2D
from siman_larq.quantizers import SampleSign

__all__ = ["ChannelPaddedShortcut", "resnet18", "resnet20", "vgg_small"]

ConvLayer = Callable[..., tf.keras.layers.Layer]


def _he_normal(mode: str = "fan_in") -> tf.keras.initializers.Initializer:
    # A fresh one for every layer: an unseeded instance gives the same values each time.
    return tf.keras.initializers.VarianceScaling(2.0, mode, "untruncated_normal")


@lq.utils.register_keras_custom_object
class ChannelPaddedShortcut(tf.keras.layers.Layer):
    """Parameter-free ("option A") shortcut: subsamples maps, pads channels with zeros.

    Takes the rows and columns at the centres of a stride-2, 3x3, `"same"` convolution (1, 3, 5,
    ... on even maps) and pads zero channels equally on both sides.

    # Arguments
        filters: Number of output channels; exceeds that of the input by an even number.

    # Input shape
        `(batch, height, width, channels)`

    # Output shape
        `(batch, ceil(height / 2), ceil(width / 2), filters)`
    """

    def __init__(self, filters: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.filters = filters

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        _, height, width, channels = inputs.shape
        pad = (self.filters - channels) // 2
        centres = inputs[:, (height + 1) % 2 :: 2, (width + 1) % 2 :: 2, :]
        return tf.pad(centres, [[0, 0], [0, 0], [0, 0], [pad, pad]])

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "filters": self.filters}


def resnet20(
    input_shape: tuple[int, int, int] = (32, 32, 3),
    num_classes: int = 10,
    conv: ConvLayer = SiMaNConv2D,
) -> tf.keras.Model:
    """ResNet-20 with 18 binary convolutions and option-A shortcuts.

    # Arguments
        input_shape: Height, width and channels of the images.
        num_classes: Number of outputs.
        conv: Makes the binary convolutions, called as `conv(filters, kernel_size, strides=...,
            kernel_initializer=..., name=...)`.

    # Returns
        A functional Keras model that gives logits. Counts for 10 classes: 267,264 binary
        weights, 271,194 trainable parameters in all.

    # Raises
        ValueError: for maps that are too small or a number of classes below 2.

    !!! example
        ```python
        model = siman_larq.models.resnet20(input_shape=(32, 32, 3), num_classes=10)
        ```

    # References
        - [SiMaN: Sign-to-Magnitude Network Binarization](https://arxiv.org/abs/2102.07981)
    """
    _check_shape(input_shape, num_classes, smallest=4)

    def half(x, filters, strides, shortcut, block, position):
        y = conv(
            filters,
            3,
            strides=strides,
            kernel_initializer=_he_normal(),
            name=f"{block}.conv{position}",
        )(x)
        y = tf.keras.layers.Add(name=f"{block}.add{position}")(
            [_batch_norm(f"{block}.bn{position}")(y), shortcut]
        )
        return _prelu(f"{block}.nonlinear{position}")(y)

    image = tf.keras.layers.Input(input_shape)
    x = _float_conv(16, _he_normal())(image)
    x = tf.keras.layers.ReLU(name="relu")(_batch_norm("bn1")(x))
    for stage, filters in enumerate((16, 32, 64), start=1):
        for index in range(3):
            block = f"layer{stage}.{index}"
            downsamples = stage > 1 and index == 0
            shortcut = x
            if downsamples:
                shortcut = ChannelPaddedShortcut(filters, name=f"{block}.shortcut")(x)
            x = half(x, filters, 2 if downsamples else 1, shortcut, block, 1)
            x = half(x, filters, 1, x, block, 2)
    logits = _pooled_classifier(x, num_classes)
    return tf.keras.Model(image, logits, name="resnet20")


def resnet18(
    input_shape: tuple[int, int, int] = (32, 32, 3),
    num_classes: int = 10,
    conv: ConvLayer = SiMaNConv2D,
) -> tf.keras.Model:
    """The CIFAR form of ResNet-18 with 19 binary convolutions, three of them shortcuts.

    # Arguments
        input_shape: Height, width and channels of the images.
        num_classes: Number of outputs.
        conv: Makes the binary convolutions, called as `conv(filters, kernel_size, strides=...,
            kernel_initializer=..., name=...)`; for shortcuts also with `input_quantizer=...`.

    # Returns
        A functional Keras model that gives logits. Counts for 10 classes: 11,157,504 binary
        weights, 11,179,722 trainable parameters in all.

    # Raises
        ValueError: for maps that are too small or a number of classes below 2.

    !!! example
        ```python
        model = siman_larq.models.resnet18(input_shape=(32, 32, 3), num_classes=100)
        ```

    # References
        - [SiMaN: Sign-to-Magnitude Network Binarization](https://arxiv.org/abs/2102.07981)
    """
    _check_shape(input_shape, num_classes, smallest=8)

    def conv_norm(x, filters, size, strides, names, **kwargs):
        x = conv(
            filters, size, strides=strides, kernel_initializer=_he_normal(), name=names[0], **kwargs
        )(x)
        return _batch_norm(names[1])(x)

    def shortcut(x, filters, block):
        # Signs about the mean of the whole map, at the centres of the 3x3 convolution beside it.
        _, height, width, _ = x.shape
        signs = SampleSign(name=f"{block}.shortcut.sign")(x)
        crop = (((height + 1) % 2, 0), ((width + 1) % 2, 0))
        signs = tf.keras.layers.Cropping2D(crop, name=f"{block}.shortcut.crop")(signs)
        names = (f"{block}.shortcut.0", f"{block}.shortcut.1")
        return conv_norm(signs, filters, 1, 2, names, input_quantizer="ste_sign")

    def hard_tanh(x, name):
        return tf.keras.layers.Activation("hard_tanh", name=name)(x)

    image = tf.keras.layers.Input(input_shape)
    x = _batch_norm("bn1")(_float_conv(64, _he_normal())(image))
    for stage, filters in enumerate((64, 128, 256, 512), start=1):
        for index in range(2):
            block = f"layer{stage}.{index}"
            downsamples = stage > 1 and index == 0
            strides = 2 if downsamples else 1
            identity = shortcut(x, filters, block) if downsamples else x
            y = conv_norm(x, filters, 3, strides, (f"{block}.conv1", f"{block}.bn1"))
            y = hard_tanh(y, f"{block}.hard_tanh1")
            y = conv_norm(y, filters, 3, 1, (f"{block}.conv2", f"{block}.bn2"))
            x = tf.keras.layers.Add(name=f"{block}.add")([y, identity])
            x = hard_tanh(x, f"{block}.hard_tanh2")
    logits = _pooled_classifier(x, num_classes)
    return tf.keras.Model(image, logits, name="resnet18")


def vgg_small(
    input_shape: tuple[int, int, int] = (32, 32, 3),
    num_classes: int = 10,
    conv: ConvLayer = SiMaNConv2D,
) -> tf.keras.Model:
    """VGG-small with 5 binary convolutions.

    # Arguments
        input_shape: Height, width and channels of the images.
        num_classes: Number of outputs.
        conv: Makes the binary convolutions, called as `conv(filters, kernel_size,
            kernel_initializer=..., name=...)`.

    # Returns
        A functional Keras model that gives logits. Counts for 10 classes and 32x32 images:
        4,571,136 binary weights, 4,663,562 trainable parameters in all.

    # Raises
        ValueError: for maps that are too small or a number of classes below 2.

    !!! example
        ```python
        model = siman_larq.models.vgg_small(input_shape=(32, 32, 3), num_classes=10)
        ```

    # References
        - [SiMaN: Sign-to-Magnitude Network Binarization](https://arxiv.org/abs/2102.07981)
    """
    _check_shape(input_shape, num_classes, smallest=8)
    image = tf.keras.layers.Input(input_shape)
    x = _float_conv(128, _he_normal("fan_out"), name="conv0")(image)
    x = _prelu("nonlinear0")(_batch_norm("bn0")(x))
    for index, filters in enumerate((128, 256, 256, 512, 512), start=1):
        x = conv(filters, 3, kernel_initializer=_he_normal("fan_out"), name=f"conv{index}")(x)
        if index % 2:
            x = tf.keras.layers.MaxPool2D(name=f"pool{index}")(x)
        x = _prelu(f"nonlinear{index}")(_batch_norm(f"bn{index}")(x))
    normal = tf.keras.initializers.RandomNormal(stddev=0.01)
    x = tf.keras.layers.Flatten(name="flatten")(x)
    logits = tf.keras.layers.Dense(
        num_classes, kernel_initializer=normal, dtype="float32", name="linear"
    )(x)
    return tf.keras.Model(image, logits, name="vgg_small")


def _check_shape(input_shape: tuple[int, int, int], num_classes: int, smallest: int) -> None:
    shape = tuple(input_shape)
    if len(shape) != 3 or any(not isinstance(n, int) or n < 1 for n in shape):
        raise ValueError(f"input_shape={input_shape!r} must be (height, width, channels).")
    if min(shape[:2]) < smallest:
        raise ValueError(
            f"input_shape={input_shape!r} is too small: this network halves its maps until a "
            f"side below {smallest} has nothing left; use at least {smallest} x {smallest}."
        )
    if num_classes < 2:
        raise ValueError(f"num_classes={num_classes!r} must be 2 or more.")


def _float_conv(filters: int, initializer: Any, name: str = "conv1") -> tf.keras.layers.Layer:
    return tf.keras.layers.Conv2D(
        filters, 3, padding="same", use_bias=False, kernel_initializer=initializer, name=name
    )


def _batch_norm(name: str) -> tf.keras.layers.Layer:
    return tf.keras.layers.BatchNormalization(momentum=0.9, epsilon=1e-5, name=name)


def _prelu(name: str) -> tf.keras.layers.Layer:
    slope = tf.keras.initializers.Constant(0.25)
    return tf.keras.layers.PReLU(alpha_initializer=slope, shared_axes=[1, 2], name=name)


def _pooled_classifier(x: tf.Tensor, num_classes: int) -> tf.Tensor:
    # Normalised as a 1x1 map: only on maps does Keras put the unbiased variance, as PyTorch does,
    # into the running one.
    x = tf.keras.layers.GlobalAveragePooling2D(keepdims=True, name="pool")(x)
    x = tf.keras.layers.Flatten(name="flatten")(_batch_norm("bn2")(x))
    return tf.keras.layers.Dense(
        num_classes, kernel_initializer=_he_normal(), dtype="float32", name="linear"
    )(x)
