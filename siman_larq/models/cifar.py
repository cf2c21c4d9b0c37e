"""The paper's CIFAR networks, as the official code defines them."""

from typing import Any

import tensorflow as tf

from siman_larq.layers import SiMaNConv2D
from siman_larq.models.blocks import (
    Activation,
    ChannelPaddedShortcut,
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
from siman_larq.quantizers import SampleSign

__all__ = ["resnet8", "resnet18", "resnet20", "vgg_small"]


def resnet20(
    input_shape: tuple[int, int, int] = (32, 32, 3),
    num_classes: int = 10,
    conv: ConvLayer = SiMaNConv2D,
    activation: Activation = prelu,
    weights: str | None = None,
) -> tf.keras.Model:
    """ResNet-20 with 18 binary convolutions and option-A shortcuts.

    # Arguments
        input_shape: Height, width and channels of the images.
        num_classes: Number of outputs.
        conv: Makes the binary convolutions, called as `conv(filters, kernel_size, strides=...,
            kernel_initializer=..., name=...)`.
        activation: Makes the activations, called as `activation(name)`; PReLU by default,
            `siman_larq.models.blocks.rprelu` for RPReLU.
        weights: `None` for random weights, or the name of those that come with the package, such as
            `"fashion_mnist"`, with which the network is built as it was trained; `siman-larq
            published` lists them. All other arguments are then left out.

    # Returns
        A functional Keras model that gives logits. Counts for 10 classes: 267,264 binary
        weights, 271,194 trainable parameters in all.

    # Raises
        ValueError: for maps that are too small or a number of classes below 2; for weights that
            are unknown, or beside other arguments.

    !!! example
        ```python
        model = siman_larq.models.resnet20(input_shape=(32, 32, 3), num_classes=10)
        ```

    # References
        - [SiMaN: Sign-to-Magnitude Network Binarization](https://arxiv.org/abs/2102.07981)
    """
    if weights is not None:
        return _trained(
            "resnet20", weights, input_shape, num_classes, conv=conv, activation=activation
        )
    return _cifar_resnet(3, input_shape, num_classes, conv, activation)


def resnet8(
    input_shape: tuple[int, int, int] = (32, 32, 3),
    num_classes: int = 10,
    conv: ConvLayer = SiMaNConv2D,
    activation: Activation = prelu,
) -> tf.keras.Model:
    """ResNet-20's small sibling: one block a stage in place of three, so 6 binary convolutions.

    Not one of the paper's networks: for experiments of many steps and many seeds.

    # Arguments
        input_shape: Height, width and channels of the images.
        num_classes: Number of outputs.
        conv: Makes the binary convolutions, as for `resnet20`.
        activation: Makes the activations, as for `resnet20`.

    # Returns
        A functional Keras model that gives logits. Counts for 10 classes: 73,728 binary
        weights, 75,866 trainable parameters in all.

    # Raises
        ValueError: for maps that are too small or a number of classes below 2.

    !!! example
        ```python
        model = siman_larq.models.resnet8(input_shape=(28, 28, 1), num_classes=10)
        ```
    """
    return _cifar_resnet(1, input_shape, num_classes, conv, activation)


def _cifar_resnet(
    blocks: int,
    input_shape: tuple[int, int, int],
    num_classes: int,
    conv: ConvLayer,
    activation: Activation,
) -> tf.keras.Model:
    """The ResNet of depth 6n + 2 for CIFAR, of n blocks a stage."""
    check_shape(input_shape, num_classes, smallest=4)

    image = tf.keras.layers.Input(input_shape)
    x = float_conv(16, he_normal())(image)
    x = tf.keras.layers.ReLU(name="relu")(batch_norm("bn1")(x))
    for stage, filters in enumerate((16, 32, 64), start=1):
        for index in range(blocks):
            block = f"layer{stage}.{index}"
            downsamples = stage > 1 and index == 0
            shortcut = x
            if downsamples:
                shortcut = ChannelPaddedShortcut(filters, name=f"{block}.shortcut")(x)
            strides = 2 if downsamples else 1
            x = residual_block(x, shortcut, conv, filters, strides, block, activation)
    logits = pooled_classifier(x, num_classes)
    return tf.keras.Model(image, logits, name=f"resnet{6 * blocks + 2}")


def resnet18(
    input_shape: tuple[int, int, int] = (32, 32, 3),
    num_classes: int = 10,
    conv: ConvLayer = SiMaNConv2D,
    weights: str | None = None,
) -> tf.keras.Model:
    """The CIFAR form of ResNet-18 with 19 binary convolutions, three of them shortcuts.

    # Arguments
        input_shape: Height, width and channels of the images.
        num_classes: Number of outputs.
        conv: Makes the binary convolutions, called as `conv(filters, kernel_size, strides=...,
            kernel_initializer=..., name=...)`; for shortcuts also with `input_quantizer=...`.
        weights: `None` for random weights, or the name of those that come with the package, such as
            `"fashion_mnist"`, with which the network is built as it was trained; `siman-larq
            published` lists them. All other arguments are then left out.

    # Returns
        A functional Keras model that gives logits. Counts for 10 classes: 11,157,504 binary
        weights, 11,179,722 trainable parameters in all.

    # Raises
        ValueError: for maps that are too small or a number of classes below 2; for weights that
            are unknown, or beside other arguments.

    !!! example
        ```python
        model = siman_larq.models.resnet18(input_shape=(32, 32, 3), num_classes=100)
        ```

    # References
        - [SiMaN: Sign-to-Magnitude Network Binarization](https://arxiv.org/abs/2102.07981)
    """
    if weights is not None:
        return _trained("resnet18", weights, input_shape, num_classes, conv=conv)
    check_shape(input_shape, num_classes, smallest=8)

    def conv_norm(x, filters, size, strides, names, **kwargs):
        x = conv(
            filters, size, strides=strides, kernel_initializer=he_normal(), name=names[0], **kwargs
        )(x)
        return batch_norm(names[1])(x)

    def shortcut(x, filters, block):
        # Signs about the mean of the whole map, at the centres of the 3x3 convolution beside it.
        signs = SampleSign(name=f"{block}.shortcut.sign")(x)
        signs = centres(signs, f"{block}.shortcut.crop")
        names = (f"{block}.shortcut.0", f"{block}.shortcut.1")
        return conv_norm(signs, filters, 1, 2, names, input_quantizer="ste_sign")

    def hard_tanh(x, name):
        return tf.keras.layers.Activation("hard_tanh", name=name)(x)

    image = tf.keras.layers.Input(input_shape)
    x = batch_norm("bn1")(float_conv(64, he_normal())(image))
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
    logits = pooled_classifier(x, num_classes)
    return tf.keras.Model(image, logits, name="resnet18")


def vgg_small(
    input_shape: tuple[int, int, int] = (32, 32, 3),
    num_classes: int = 10,
    conv: ConvLayer = SiMaNConv2D,
    activation: Activation = prelu,
    weights: str | None = None,
) -> tf.keras.Model:
    """VGG-small with 5 binary convolutions.

    # Arguments
        input_shape: Height, width and channels of the images.
        num_classes: Number of outputs.
        conv: Makes the binary convolutions, called as `conv(filters, kernel_size,
            kernel_initializer=..., name=...)`.
        activation: Makes the activations, called as `activation(name)`; PReLU by default,
            `siman_larq.models.blocks.rprelu` for RPReLU.
        weights: `None` for random weights, or the name of those that come with the package, such as
            `"fashion_mnist"`, with which the network is built as it was trained; `siman-larq
            published` lists them. All other arguments are then left out.

    # Returns
        A functional Keras model that gives logits. Counts for 10 classes and 32x32 images:
        4,571,136 binary weights, 4,663,562 trainable parameters in all.

    # Raises
        ValueError: for maps that are too small or a number of classes below 2; for weights that
            are unknown, or beside other arguments.

    !!! example
        ```python
        model = siman_larq.models.vgg_small(input_shape=(32, 32, 3), num_classes=10)
        ```

    # References
        - [SiMaN: Sign-to-Magnitude Network Binarization](https://arxiv.org/abs/2102.07981)
    """
    if weights is not None:
        return _trained(
            "vgg_small", weights, input_shape, num_classes, conv=conv, activation=activation
        )
    check_shape(input_shape, num_classes, smallest=8)
    image = tf.keras.layers.Input(input_shape)
    x = float_conv(128, he_normal("fan_out"), name="conv0")(image)
    x = activation("nonlinear0")(batch_norm("bn0")(x))
    for index, filters in enumerate((128, 256, 256, 512, 512), start=1):
        x = conv(filters, 3, kernel_initializer=he_normal("fan_out"), name=f"conv{index}")(x)
        if index % 2:
            x = tf.keras.layers.MaxPool2D(name=f"pool{index}")(x)
        x = activation(f"nonlinear{index}")(batch_norm(f"bn{index}")(x))
    normal = tf.keras.initializers.RandomNormal(stddev=0.01)
    x = tf.keras.layers.Flatten(name="flatten")(x)
    logits = tf.keras.layers.Dense(
        num_classes, kernel_initializer=normal, dtype="float32", name="linear"
    )(x)
    return tf.keras.Model(image, logits, name="vgg_small")


def _trained(
    network: str, weights: str, input_shape: tuple[int, int, int], num_classes: int, **parts: Any
) -> tf.keras.Model:
    # Loading takes what conversion is made of, and networks without weights do not need it.
    from siman_larq.models.trained import trained

    usual = {"conv": SiMaNConv2D, "activation": prelu}
    own = {name: part for name, part in parts.items() if part is not usual[name]}
    return trained(network, weights, input_shape, num_classes, **own)
