"""ResNets of Keras Applications as teachers, from weights that are on this machine already."""

import os
from pathlib import Path

import h5py
import tensorflow as tf

from siman_larq.data.images import ImageShape
from siman_larq.data.pipeline import input_settings
from siman_larq.files import first_line

__all__ = ["CACHED", "check_resnet", "find_weights", "resnet"]

# By the number of layers with weights, as the names of layers changed with Keras's versions.
_RESNETS = {107: "ResNet50", 209: "ResNet101", 311: "ResNet152"}

CACHED = os.path.join("~", ".keras", "models", "{}_weights_tf_dim_ordering_tf_kernels.h5")
"""Where `tf.keras.applications` keeps the weights of a network that it downloaded."""


def find_weights() -> str | None:
    """The file with ImageNet's weights of the first of ResNet-50, -101 and -152 in Keras's cache.

    Nothing is downloaded; `None` if none is there.
    """
    paths = (os.path.expanduser(CACHED.format(name.lower())) for name in _RESNETS.values())
    return next(filter(os.path.isfile, paths), None)


def check_resnet(path: Path) -> str:
    """The name of the ResNet whose weights a file holds.

    # Raises
        ValueError: when it holds none.
    """
    try:
        with h5py.File(path) as file:
            groups = file.get("model_weights", file)
            count = sum(len(group.attrs.get("weight_names", ())) > 0 for group in groups.values())
    except (OSError, AttributeError) as error:
        raise ValueError(
            f"teacher='{path}' is no file of Keras's weights ({first_line(error)}); give one of "
            f"{_known()} of Keras Applications, or the folder of a run that has ended."
        ) from error
    if count not in _RESNETS:
        raise ValueError(
            f"teacher='{path}' holds {count} layers with weights, and is none of {_known()} of "
            "Keras Applications with its classifier; give the file of one, or the folder of a run "
            "that has ended."
        )
    return _RESNETS[count]


def resnet(path: Path, image_shape: ImageShape, num_classes: int) -> tf.keras.Model:
    """A ResNet of Keras Applications that takes images as this package prepares them.

    # Arguments
        path: A file of its weights.
        image_shape: (height, width, channels) of the images.
        num_classes: Number of classes.

    # Returns
        A Keras model that gives logits.

    # Raises
        ValueError: when the file holds no such network, or one for another number of classes.
    """
    name = check_resnet(path)
    build = getattr(tf.keras.applications, name)
    network = build(
        weights=None, input_shape=image_shape, classes=num_classes, classifier_activation=None
    )
    try:
        network.load_weights(str(path))
    except ValueError as error:
        raise ValueError(
            f"teacher='{path}' does not fit {name} for {num_classes} classes "
            f"({first_line(error)}); give a teacher of the same data set."
        ) from error
    settings = input_settings(image_shape, image_shape[:2], is_grey=False, crop=1.0)
    mean, std = (tf.constant(settings[key]) for key in ("mean", "std"))
    image = tf.keras.Input(image_shape)
    prepared = tf.keras.applications.resnet.preprocess_input(255 * (image * std + mean))
    return tf.keras.Model(image, network(prepared), name=name)


def _known() -> str:
    return ", ".join(_RESNETS.values())
