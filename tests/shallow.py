"""train/cifar.py with a network of one binary layer in place of ResNet-20.

Deep untrained binary networks are chaotic: one sign that rounding turns changes their outputs
altogether, so only of a shallow one can several replicas be held against one. Run as a script it
is a worker of its own; tests import `network`.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import tensorflow as tf

from siman_larq import SiMaNConv2D, models


def network(input_shape=(32, 32, 3), num_classes=10, conv=SiMaNConv2D):
    layers = tf.keras.layers
    return tf.keras.Sequential(
        [
            layers.Input(input_shape),
            layers.Conv2D(8, 3, strides=4, use_bias=False, name="stem"),
            layers.BatchNormalization(momentum=0.9, name="bn1"),
            conv(16, 3, name="binary"),
            layers.BatchNormalization(momentum=0.9, name="bn2"),
            layers.PReLU(shared_axes=[1, 2], name="nonlinear"),
            layers.GlobalAveragePooling2D(name="pool"),
            layers.Dense(num_classes, name="linear"),
        ],
        name="resnet20",
    )


if __name__ == "__main__":
    if "mirrored" in sys.argv:
        tf.config.set_logical_device_configuration(
            tf.config.list_physical_devices("CPU")[0], [tf.config.LogicalDeviceConfiguration()] * 2
        )
    models.resnet20 = network
    from siman_larq.cli import train_cifar

    train_cifar()
