"""Parts of encoded images, decoded and resized: at random for training, in the middle for tests."""

import tensorflow as tf

from siman_larq.data.images import ImageShape

__all__ = ["MARGIN", "central_crop", "decoded", "flipped", "random_crop"]

MARGIN = 0.875
"""Side of the crop that is tested, over the shorter side of the image (224 / 256)."""


def random_crop(
    encoded: tf.Tensor, image_shape: ImageShape, seed: tf.Tensor, turn: tf.Tensor | int = 1
) -> tf.Tensor:
    """A random part of an image, resized, and flipped every other time.

    8 to 100 % of the area, at an aspect from 3/4 to 4/3, as for the official networks. Of a JPEG
    only the blocks under the crop are decoded.

    # Arguments
        encoded: JPEG, PNG, BMP or the first frame of a GIF; a string scalar.
        image_shape: (height, width, channels) of the output.
        seed: int64 [2]; the same seed gives the same crop.
        turn: How the picture is to be turned: EXIF's orientation, from 1 to 8.

    # Returns
        float32 image with values in [0, 255].
    """
    jpeg = tf.io.is_jpeg(encoded)
    shape = _image_size(encoded, jpeg)
    begin, size, _ = tf.image.stateless_sample_distorted_bounding_box(
        shape,
        tf.zeros([1, 0, 4]),
        seed,
        min_object_covered=0.0,
        aspect_ratio_range=(3 / 4, 4 / 3),
        area_range=(0.08, 1.0),
        max_attempts=10,
        use_image_if_no_bounding_boxes=True,
    )
    image = _part(encoded, tf.concat([begin[:2], size[:2]], 0), image_shape[2], jpeg)
    # Bytes are turned round faster than floats, and most crops are smaller than what they become.
    image = _turned(flipped(image, seed), turn)
    # Of more than two pixels in a row, some would count for nothing; of fewer, none, and the exact
    # way is slower.
    large = tf.reduce_any(tf.shape(image)[:2] > 2 * tf.constant(image_shape[:2]))
    return tf.cond(
        large,
        lambda: _resized(image, image_shape, antialias=True),
        lambda: _resized(image, image_shape, antialias=False),
    )


def flipped(image: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
    """An image, [height, width, channels], from right to left every other time.

    # Arguments
        image: The image.
        seed: int64 [2]; the same seed gives the same image.
    """
    flip = tf.random.stateless_uniform([], seed + tf.constant([0, 2**62], tf.int64)) < 0.5
    return tf.cond(flip, lambda: tf.reverse(image, [1]), lambda: image)


def central_crop(
    encoded: tf.Tensor, image_shape: ImageShape, turn: tf.Tensor | int = 1
) -> tf.Tensor:
    """The central square of an image, 224/256 of its shorter side, resized.

    # Arguments
        encoded: JPEG, PNG, BMP or the first frame of a GIF; a string scalar.
        image_shape: (height, width, channels) of the output.
        turn: How the picture is to be turned: EXIF's orientation, from 1 to 8.

    # Returns
        float32 image with values in [0, 255].
    """
    jpeg = tf.io.is_jpeg(encoded)
    shape = _image_size(encoded, jpeg)[:2]
    side = tf.cast(tf.cast(tf.reduce_min(shape), tf.float32) * MARGIN, tf.int32)
    side = tf.maximum(side, 1)
    window = tf.concat([(shape - side) // 2, [side, side]], 0)
    image = _turned(_part(encoded, window, image_shape[2], jpeg), turn)
    # As Pillow does it, and with it siman-run.
    return _resized(image, image_shape, antialias=True)


def decoded(encoded: tf.Tensor, channels: int, turn: tf.Tensor | int = 1) -> tf.Tensor:
    """The whole image: uint8 [height, width, channels].

    # Arguments
        encoded: JPEG, PNG, BMP or the first frame of a GIF; a string scalar.
        channels: 1 or 3.
        turn: How the picture is to be turned: EXIF's orientation, from 1 to 8.
    """
    # TensorFlow takes the indices into a BMP's palette for shades of grey, without a word.
    position = tf.where(tf.strings.length(encoded) >= 30, 28, 0)
    bits = tf.strings.substr(encoded, position, 2)
    is_bmp = tf.strings.substr(encoded, 0, 2) == b"BM"
    tf.debugging.Assert(~is_bmp | (bits == b"\x18\0") | (bits == b"\x20\0"), ["BMP with a palette"])
    image = tf.io.decode_image(encoded, channels=channels, expand_animations=False)
    return _turned(image, turn)


def _image_size(encoded: tf.Tensor, is_jpeg: tf.Tensor) -> tf.Tensor:
    return tf.cond(
        is_jpeg,
        lambda: tf.io.extract_jpeg_shape(encoded),
        lambda: tf.shape(tf.io.decode_image(encoded, expand_animations=False)),
    )


def _part(encoded: tf.Tensor, window: tf.Tensor, channels: int, is_jpeg: tf.Tensor) -> tf.Tensor:
    def of_whole() -> tf.Tensor:
        top, left, tall, wide = tf.unstack(window)
        return decoded(encoded, channels)[top : top + tall, left : left + wide]

    def of_jpeg() -> tf.Tensor:
        return tf.io.decode_and_crop_jpeg(
            encoded, window, channels=channels, dct_method="INTEGER_FAST", fancy_upscaling=False
        )

    return tf.cond(is_jpeg, of_jpeg, of_whole)


def _turned(image: tf.Tensor, turn: tf.Tensor | int) -> tf.Tensor:
    """An image as EXIF's orientation asks for it: 5 to 8 are transposed, then mirrored."""
    if isinstance(turn, int) and turn == 1:
        return image

    def mirrored(image: tf.Tensor, axis: int, turns: list[int]) -> tf.Tensor:
        wanted = tf.reduce_any(turn == tf.constant(turns))
        return tf.cond(wanted, lambda: tf.reverse(image, [axis]), lambda: image)

    image = tf.cond(turn >= 5, lambda: tf.transpose(image, [1, 0, 2]), lambda: image)
    return mirrored(mirrored(image, 1, [2, 3, 6, 7]), 0, [3, 4, 7, 8])


def _resized(image: tf.Tensor, image_shape: ImageShape, antialias: bool) -> tf.Tensor:
    # TensorFlow resizes floats by vector instructions, and bytes in twice the time without.
    floats = tf.cast(image, tf.float32)
    image = tf.image.resize(floats, image_shape[:2], antialias=antialias)
    return tf.ensure_shape(image, image_shape)
