"""Random changes of training images, each a function of (seed, epoch, step) alone."""

import tensorflow as tf

__all__ = ["BORDERS", "ORDER", "crop_and_flip", "draw_seed", "erase"]

BORDERS = {"crop": 4, "flip": 0}
"""Pixels of border to crop out of, by augmentation."""

# What a random draw is for: it keeps the draws of one step independent of each other.
ORDER, _TOP, _LEFT, _FLIP = range(4)
# Shares of an image's area, and the largest ratio of height and width.
_ERASED_AREA = (0.02, 0.4)
_LONGEST_ERASED = 1 / 0.3
_FINE = 1 << 24  # as many numbers as a float32 tells apart between 0 and 1


def draw_seed(seed: int | tf.Tensor, epoch: tf.Tensor, step: tf.Tensor, purpose: int) -> tf.Tensor:
    """The seed of one draw.

    # Arguments
        seed: Any 64-bit integer, or an int64 scalar.
        epoch: Which epoch, an int64 scalar.
        step: Which step of the epoch, an int64 scalar.
        purpose: What the draw is for, from 0 to 3.

    # Returns
        int64 [2], as TensorFlow's stateless draws take it.
    """
    # One number per (epoch, step, purpose) while there are fewer than 2**32 steps per epoch.
    return tf.stack([tf.convert_to_tensor(seed, tf.int64), (epoch * 2**32 + step) * 4 + purpose])


def crop_and_flip(
    images: tf.Tensor, border: int, seed: int | tf.Tensor, epoch: tf.Tensor, step: tf.Tensor
) -> tf.Tensor:
    """Crops every image out of a black border at a random place, and flips every other one.

    # Arguments
        images: uint8 [batch, height, width, channels].
        border: Width of the border in pixels; of none, 0, all of the image is left.
        seed: As for `draw_seed`, like `epoch` and `step`.

    # Returns
        Images of the same shape and type.
    """
    batch_size, height, width = images.shape[:3]

    def draw(purpose: int, limit: int) -> tf.Tensor:
        return tf.random.stateless_uniform(
            [batch_size, 1],
            draw_seed(seed, epoch, step, purpose),
            maxval=limit,
            dtype=tf.int32,
            alg="philox",
        )

    padded = tf.pad(images, [[0, 0], [border, border], [border, border], [0, 0]])
    rows = draw(_TOP, 2 * border + 1) + tf.range(height)
    columns = tf.range(width)
    # A flip is a crop that is read from right to left.
    columns = tf.where(draw(_FLIP, 2) == 1, columns[::-1], columns)
    columns += draw(_LEFT, 2 * border + 1)
    cropped = tf.gather(padded, rows, axis=1, batch_dims=1)
    return tf.gather(cropped, columns, axis=2, batch_dims=1)


def erase(
    images: tf.Tensor, probability: float, seed: int | tf.Tensor, epoch: tf.Tensor, step: tf.Tensor
) -> tf.Tensor:
    """Makes a random rectangle of an image black, with some probability.

    # Arguments
        images: [batch, height, width, channels].
        probability: That of an image.
        seed: As for `draw_seed`, like `epoch` and `step`.

    # Returns
        Images of the same shape and type.

    # References
        - [Random Erasing Data Augmentation](https://arxiv.org/abs/1708.04896)
    """
    batch_size, *size = images.shape[:3]
    # Integers, since XLA makes other floats of the same bits.
    drawn = tf.random.stateless_uniform(
        [5, batch_size, 1],
        # Its own draws, as long as there are fewer than 2**31 steps per epoch.
        draw_seed(seed, epoch, step + 2**31, ORDER),
        maxval=_FINE,
        dtype=tf.int32,
        alg="philox",
    )
    chance, area, shape, *place = tf.unstack(tf.cast(drawn, tf.float32) / _FINE)
    smallest, largest = _ERASED_AREA
    side = tf.sqrt((smallest + (largest - smallest) * area) * size[0] * size[1])
    # The logarithm of height over width is uniform.
    stretch = tf.pow(_LONGEST_ERASED, shape - 0.5)
    inside = [chance < probability, chance < probability]
    for axis, (whole, length) in enumerate(
        zip(size, (side * stretch, side / stretch), strict=True)
    ):
        length = tf.clip_by_value(tf.round(length), 1, whole)
        first = tf.floor(place[axis] * (whole - length + 1))
        positions = tf.range(whole, dtype=tf.float32)
        inside[axis] &= (positions >= first) & (positions < first + length)
    rows, columns = inside
    erased = rows[:, :, tf.newaxis, tf.newaxis] & columns[:, tf.newaxis, :, tf.newaxis]
    return tf.where(erased, tf.zeros([], images.dtype), images)
