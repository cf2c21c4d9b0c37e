"""The paper's ImageNet networks, as the official code defines them."""

import tensorflow as tf

from siman_larq.layers import SiMaNConv2D
from siman_larq.models.blocks import (
    Activation,
    ConvLayer,
    batch_norm,
    centres,
    check_shape,
    float_conv,
    he_normal,
    pooled_classifier,
    prelu,
    residual_block,
)

__all__ = ["resnet18_imagenet", "resnet34_imagenet"]

_GAMMA = 1e-8
"""Where the scale of every normalisation of maps starts in the official code."""


def resnet18_imagenet(
    input_shape: tuple[int, int, int] = (224, 224, 3),
    num_classes: int = 1000,
    conv: ConvLayer = SiMaNConv2D,
    activation: Activation = prelu,
) -> tf.keras.Model:
    """The ImageNet form of ResNet-18: 16 binary convolutions, real 1x1 shortcuts.

    # Arguments
        input_shape: Height, width and channels of the images.
        num_classes: Number of outputs.
        conv: Makes the binary convolutions, called as `conv(filters, kernel_size, strides=...,
            kernel_initializer=..., name=...)`.
        activation: Makes the activations, called as `activation(name)`; PReLU by default,
            `siman_larq.models.blocks.rprelu` for RPReLU.

    # Returns
        A functional Keras model that gives logits. Counts for 1,000 classes: 10,985,472 binary
        weights, 11,698,216 trainable parameters in all.

    # Raises
        ValueError: for maps that are too small or a number of classes below 2.

    !!! example
        ```python
        model = siman_larq.models.resnet18_imagenet(num_classes=10)
        ```

    # References
        - [SiMaN: Sign-to-Magnitude Network Binarization](https://arxiv.org/abs/2102.07981)
    """
    return _resnet(input_shape, num_classes, conv, activation, (2, 2, 2, 2), "resnet18_imagenet")


def resnet34_imagenet(
    input_shape: tuple[int, int, int] = (224, 224, 3),
    num_classes: int = 1000,
    conv: ConvLayer = SiMaNConv2D,
    activation: Activation = prelu,
) -> tf.keras.Model:
    """ResNet-34 with 32 binary convolutions and real 1x1 shortcuts.

    # Arguments
        input_shape: Height, width and channels of the images.
        num_classes: Number of outputs.
        conv: Makes the binary convolutions, called as `conv(filters, kernel_size, strides=...,
            kernel_initializer=..., name=...)`.
        activation: Makes the activations, called as `activation(name)`; PReLU by default,
            `siman_larq.models.blocks.rprelu` for RPReLU.

    # Returns
        A functional Keras model that gives logits. Counts for 1,000 classes: 21,086,208 binary
        weights, 21,813,800 trainable parameters in all.

    # Raises
        ValueError: for maps that are too small or a number of classes below 2.

    !!! example
        ```python
        model = siman_larq.models.resnet34_imagenet(num_classes=10)
        ```

    # References
        - [SiMaN: Sign-to-Magnitude Network Binarization](https://arxiv.org/abs/2102.07981)
    """
    return _resnet(input_shape, num_classes, conv, activation, (3, 4, 6, 3), "resnet34_imagenet")


def _resnet(
    input_shape: tuple[int, int, int],
    num_classes: int,
    conv: ConvLayer,
    activation: Activation,
    blocks: tuple[int, ...],
    name: str,
) -> tf.keras.Model:
    check_shape(input_shape, num_classes, smallest=32)
    image = tf.keras.layers.Input(input_shape)
    x = float_conv(64, he_normal(), size=7, strides=2)(image)
    x = tf.keras.layers.ReLU(name="relu")(batch_norm("bn1", _GAMMA)(x))
    x = tf.keras.layers.MaxPool2D(3, strides=2, padding="same", name="maxpool")(x)
    for stage, (filters, count) in enumerate(zip((64, 128, 256, 512), blocks, strict=True), 1):
        for index in range(count):
            block = f"layer{stage}.{index}"
            downsamples = stage > 1 and index == 0
            shortcut = _shortcut(x, filters, block) if downsamples else x
            strides = 2 if downsamples else 1
            x = residual_block(x, shortcut, conv, filters, strides, block, activation, _GAMMA)
    return tf.keras.Model(image, pooled_classifier(x, num_classes), name=name)


def _shortcut(x: tf.Tensor, filters: int, block: str) -> tf.Tensor:
    x = centres(x, f"{block}.shortcut.crop")
    x = float_conv(filters, he_normal(), f"{block}.shortcut.0", size=1, strides=2)(x)
    return batch_norm(f"{block}.shortcut.1", _GAMMA)(x)
