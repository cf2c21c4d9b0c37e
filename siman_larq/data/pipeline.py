"""Turns images in memory into batches for Keras, with the usual CIFAR augmentation.

Everything random is a function of (seed, epoch, step) alone. A run that is resumed at an epoch
therefore sees, bit for bit, the batches that an unbroken run would have seen.
"""

from typing import Any

import numpy as np
import tensorflow as tf

from siman_larq.choices import AUGMENTATIONS, check_choice
from siman_larq.data.augmentation import (
    BORDERS,
    ORDER,
    crop_and_flip,
    draw_seed,
    erase,
)
from siman_larq.data.images import ImageData, ImageShape

__all__ = [
    "epoch_order",
    "eval_batches",
    "input_settings",
    "normalised_float",
    "prepare",
    "prepared",
    "steps_per_epoch",
    "train_batches",
    "training_batch",
]

# Mean and standard deviation per channel, for pixels in [0, 1].
_STATISTICS = {
    1: ((0.449,), (0.226,)),
    3: ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
}


def steps_per_epoch(examples: int, batch_size: int) -> int:
    """The number of full batches in one epoch; the remainder is dropped.

    # Arguments
    examples: The number of training images.
    batch_size: Images per batch.

    # Returns
    `examples // batch_size`, at least 1.

    # Raises
    ValueError: If `batch_size` is below 1 or above `examples`.
    """
    if not 1 <= batch_size <= examples:
        raise ValueError(
            f"batch_size={batch_size} does not fit {examples} training images: "
            f"it must be from 1 to {examples}."
        )
    return examples // batch_size


def train_batches(
    data: ImageData,
    *,
    batch_size: int,
    image_shape: ImageShape = (32, 32, 3),
    seed: int,
    first_epoch: int,
    epochs: int,
    augmentation: str = "crop",
    erasing: float = 0.0,
) -> tf.data.Dataset:
    """The training batches of the epochs `first_epoch` to `epochs - 1`, one after another.

    Each epoch visits the images in a new order. Each image is augmented, and then normalised as by
    `prepare`.

    # Arguments
    data: The data set.
    batch_size: Images per batch; an epoch's remainder is dropped.
    image_shape: (height, width, channels) of the output.
    seed: Any 64-bit integer.
    first_epoch: The first epoch, counted from 0.
    epochs: The total number of epochs, so `epochs - first_epoch` of them are produced.
    augmentation: `"crop"`: every image is padded by 4 black pixels on each side, cropped to
        `image_shape` at a random place and flipped with probability one half; `"flip"`: the latter
        alone; `"none"`.
    erasing: Probability with which a rectangle of an image becomes black: a share of 0.02 to 0.4 of
        its area, 0.3 to 1 / 0.3 times as high as wide, anywhere within it. See "Random Erasing Data
        Augmentation", arXiv 1708.04896.

    # Returns
    A `tf.data.Dataset` of known length with pairs of images, float32
    [batch_size, height, width, channels], and labels, int64 [batch_size].

    # Raises
    ValueError: If `batch_size`, `image_shape`, the epochs or `augmentation` are impossible.
    """
    count = len(data.train_images)
    steps = steps_per_epoch(count, batch_size)
    _check_shape(data.train_images.shape, image_shape)
    if not 0 <= first_epoch <= epochs:
        raise ValueError(f"first_epoch={first_epoch} must be from 0 to epochs={epochs}.")
    check_choice("augmentation", augmentation, AUGMENTATIONS)
    with tf.device("/cpu:0"):
        images = tf.constant(data.train_images)
        labels = tf.constant(data.train_labels, tf.int64)

    def epoch_of_indices(epoch: tf.Tensor) -> tf.data.Dataset:
        order = epoch_order(count, steps * batch_size, seed, epoch)
        return tf.data.Dataset.from_tensor_slices(
            (
                tf.fill([steps], epoch),
                tf.range(steps, dtype=tf.int64),
                tf.reshape(order, [steps, batch_size]),
            )
        )

    def batch(epoch: tf.Tensor, step: tf.Tensor, indices: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        return training_batch(
            images, labels, indices, seed, epoch, step, image_shape, augmentation, erasing
        )

    # Sequential maps: the order must be fixed, and one core is fast enough.
    dataset = tf.data.Dataset.range(first_epoch, epochs).flat_map(epoch_of_indices).map(batch)
    length = tf.data.experimental.assert_cardinality((epochs - first_epoch) * steps)
    return dataset.apply(length).prefetch(2)


def epoch_order(count: int, used: int, seed: int | tf.Tensor, epoch: tf.Tensor) -> tf.Tensor:
    """The order in which an epoch visits the training images.

    # Arguments
    count: Number of training images.
    used: How many of them the epoch visits.
    seed: Any 64-bit integer, or an int64 scalar.
    epoch: Which epoch, from 0; an int64 scalar.

    # Returns
    Different indices, int32 [used].
    """
    keys = tf.random.stateless_uniform(
        [count],
        draw_seed(seed, epoch, tf.constant(0, tf.int64), ORDER),
        minval=None,
        maxval=None,
        dtype=tf.int32,
        alg="philox",
    )
    return tf.argsort(keys, stable=True)[:used]


def training_batch(
    images: tf.Tensor,
    labels: tf.Tensor,
    indices: tf.Tensor,
    seed: int | tf.Tensor,
    epoch: tf.Tensor,
    step: tf.Tensor,
    image_shape: ImageShape = (32, 32, 3),
    augmentation: str = "crop",
    erasing: float = 0.0,
) -> tuple[tf.Tensor, tf.Tensor]:
    """One batch as `train_batches` makes it, by ops that XLA compiles too.

    # Arguments
    images: All training images, uint8 [N, height, width, channels].
    labels: Their classes, int64 [N].
    indices: Those of the batch, int32 [batch_size], such as a part of `epoch_order`.
    seed: Any 64-bit integer, or an int64 scalar.
    epoch: Which epoch, from 0; an int64 scalar.
    step: Which step of the epoch, from 0; an int64 scalar.
    image_shape: (height, width, channels) of the output.
    augmentation: As for `train_batches`, as is the next.
    erasing: As for `train_batches`.

    # Returns
    Images, float32 [batch_size, *image_shape], and labels, int64 [batch_size].
    """
    chosen = _pad_to_shape(tf.gather(images, indices), image_shape)
    if augmentation in BORDERS:
        chosen = crop_and_flip(chosen, BORDERS[augmentation], seed, epoch, step)
    if erasing:
        chosen = erase(chosen, erasing, seed, epoch, step)
    return _normalise(chosen, image_shape), tf.gather(labels, indices)


def eval_batches(
    images: np.ndarray,
    labels: np.ndarray,
    *,
    batch_size: int,
    image_shape: ImageShape = (32, 32, 3),
) -> tf.data.Dataset:
    """The images in order, prepared but not augmented; the last batch may be smaller.

    # Arguments
    images: uint8 [N, height, width, channels].
    labels: Integers [N].
    batch_size: Images per batch.
    image_shape: (height, width, channels) of the output.

    # Returns
    A `tf.data.Dataset` with pairs of images, float32 [batch, height, width, channels], and
    labels, int64 [batch].

    # Raises
    ValueError: If `batch_size` is below 1 or `image_shape` does not fit the images.
    """
    if batch_size < 1:
        raise ValueError(f"batch_size={batch_size} must be at least 1.")
    _check_shape(images.shape, image_shape)
    with tf.device("/cpu:0"):
        tensors = (tf.constant(images), tf.constant(labels, tf.int64))
    dataset = tf.data.Dataset.from_tensor_slices(tensors).batch(batch_size)
    return dataset.map(lambda x, y: (prepared(x, image_shape), y)).prefetch(2)


def prepare(images: np.ndarray, image_shape: ImageShape = (32, 32, 3)) -> np.ndarray:
    """Pads and normalises images exactly as `eval_batches` does.

    Smaller images get an even black border, grey ones are repeated over three channels where
    `image_shape` asks for three; then pixels are scaled to [0, 1] and normalised by mean and
    standard deviation.

    # Arguments
    images: uint8 [N, height, width, channels].
    image_shape: (height, width, channels) of the output.

    # Returns
    A float32 array of shape [N, *image_shape].

    # Raises
    ValueError: If `image_shape` does not fit the images.
    """
    _check_shape(images.shape, image_shape)
    with tf.device("/cpu:0"):
        return prepared(tf.constant(images), image_shape).numpy()


def _check_shape(shape: tuple[int, ...], image_shape: ImageShape) -> None:
    height, width, channels = image_shape
    if channels not in _STATISTICS:
        raise ValueError(f"image_shape={image_shape}: the channels must be 1 or 3.")
    if len(shape) != 4:
        raise ValueError(f"Images must be [N, height, width, channels], these are {shape}.")
    if shape[3] not in (1, channels):
        raise ValueError(
            f"Images with {shape[3]} channels cannot be given as image_shape={image_shape}."
        )
    if shape[1] > height or shape[2] > width:
        raise ValueError(
            f"Images of {shape[1]}x{shape[2]} pixels are larger than image_shape={image_shape}."
        )


def prepared(images: tf.Tensor, image_shape: ImageShape) -> tf.Tensor:
    """As `prepare`, for tensors."""
    return _normalise(_pad_to_shape(images, image_shape), image_shape)


def _pad_to_shape(images: tf.Tensor, image_shape: ImageShape) -> tf.Tensor:
    missing = [image_shape[0] - images.shape[1], image_shape[1] - images.shape[2]]
    before_after = [[m // 2, m - m // 2] for m in missing]
    return tf.pad(images, [[0, 0], *before_after, [0, 0]])


def input_settings(
    image_shape: ImageShape, picture_size: tuple[int, ...], is_grey: bool, crop: float
) -> dict[str, Any]:
    """How a picture becomes an input, for programs that run the network elsewhere.

    # Arguments
        image_shape: (height, width, channels) of the input.
        picture_size: (height, width) of the picture inside it; around it is a black border.
        is_grey: Whether pictures are turned grey first.
        crop: Side of the central square that is used, over the shorter side of a picture.

    # Returns
        These and the `mean` and `std` of each channel, for pixels in [0, 1], ready for JSON.
    """
    mean, std = _STATISTICS[image_shape[2]]
    return {
        "picture_size": list(picture_size),
        "is_grey": is_grey,
        "crop": crop,
        "mean": list(mean),
        "std": list(std),
    }


def normalised_float(image: tf.Tensor, image_shape: ImageShape) -> tf.Tensor:
    """What `prepare` does to pixels, up to rounding, in two passes over one float32 image."""
    _, width, channels = image_shape
    # By rows: TensorFlow is many times slower where it broadcasts along an axis of length 3.
    mean, std = (np.tile(np.array(v, np.float64), width) for v in _STATISTICS[channels])
    rows = tf.reshape(image, [-1, width * channels])
    rows = rows * tf.constant(1 / (255 * std), tf.float32) - tf.constant(mean / std, tf.float32)
    return tf.reshape(rows, image_shape)


def _normalise(images: tf.Tensor, image_shape: ImageShape) -> tf.Tensor:
    channels = image_shape[2]
    mean, std = _STATISTICS[channels]
    pixels = tf.cast(images, tf.float32) / 255.0
    if pixels.shape[-1] != channels:
        pixels = tf.repeat(pixels, channels, axis=-1)
    return (pixels - tf.constant(mean)) / tf.constant(std)
