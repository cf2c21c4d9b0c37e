"""Images that are read, decoded and augmented while a network trains: ImageNet and its like.

Files are read in an order of their own in every epoch and mixed in a buffer of encoded images.
Which images a batch holds and how each is augmented is a function of (seed, epoch, position)
alone, so a resumed run sees what an unbroken one would have seen, and several workers together
see what one would.
"""

import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import tensorflow as tf
import tensorflow_datasets as tfds

from siman_larq.data.datasets import open_builder
from siman_larq.data.errors import DatasetCorruptError
from siman_larq.data.pipeline import (
    ImageShape,
    input_settings,
    normalised_float,
    steps_per_epoch,
)
from siman_larq.data.sources import WHOLE, Share

__all__ = ["SHUFFLE_BUFFER", "StreamedSource", "central_crop", "random_crop", "stream"]

SHUFFLE_BUFFER = 4096
"""Encoded images that are mixed with each other; about 0.5 GB of ImageNet."""

_OPEN_FILES = 16
_READ_AHEAD = 128  # images, to decode while the next epoch begins
_MARGIN = 0.875
"""Side of the crop that is tested, over the shorter side of the image (224 / 256)."""


@dataclass(frozen=True)
class StreamedSource:
    """Images in TFDS's files, one split for training and one for testing.

    # Arguments
        builder: A prepared TFDS builder whose features are `image` and `label`.
        train_split: Name of the split to train on.
        test_split: Name of the split to test on.
        train_count: Number of training images, the first of the split.
        test_count: Number of test images, the first of the split.
    """

    builder: tfds.core.DatasetBuilder
    train_split: str
    test_split: str
    train_count: int
    test_count: int

    @property
    def num_classes(self) -> int:
        return self.builder.info.features["label"].num_classes

    @property
    def class_names(self) -> tuple[str, ...]:
        return tuple(self.builder.info.features["label"].names)

    @property
    def source(self) -> str:
        return f"{self.builder.info.full_name}, streamed from {self.builder.data_dir}"

    def train_batches(
        self,
        *,
        batch_size: int,
        image_shape: ImageShape,
        seed: int,
        first_epoch: int,
        epochs: int,
        share: Share = WHOLE,
        shuffle_buffer: int = SHUFFLE_BUFFER,
    ) -> tf.data.Dataset:
        """Batches of random crops, resized and flipped; see `ImageSource.train_batches`."""
        steps = steps_per_epoch(self.train_count, batch_size)
        size = share.of(batch_size)

        def examples(epoch: tf.Tensor) -> tf.data.Dataset:
            records = self._records(self.train_split, self.train_count, tf.stack([seed, epoch]))
            mixed = _shuffled(_parsed(records), shuffle_buffer, seed, epoch)
            numbered = mixed.take(steps * batch_size).enumerate(epoch * 2**32)
            return numbered.shard(share.pipelines, share.index)

        def prepare(
            number: tf.Tensor, example: tuple[tf.Tensor, tf.Tensor]
        ) -> tuple[tf.Tensor, tf.Tensor]:
            encoded, label = example
            key = tf.stack([tf.constant(seed, tf.int64), number])
            image = random_crop(encoded, image_shape, key, self._is_jpeg)
            return normalised_float(image, image_shape), label

        dataset = tf.data.Dataset.range(first_epoch, epochs).flat_map(examples)
        dataset = dataset.prefetch(_READ_AHEAD)
        # AUTOTUNE takes its time to find this number, and measures a twentieth slower.
        calls = 2 * (os.cpu_count() or 1)
        dataset = dataset.map(prepare, num_parallel_calls=calls, deterministic=True)
        count = (epochs - first_epoch) * steps * share.replicas
        length = tf.data.experimental.assert_cardinality(count)
        options = tf.data.Options()
        options.experimental_optimization.map_and_batch_fusion = True  # saves a copy
        batches = dataset.batch(size, drop_remainder=True).with_options(options)
        return batches.apply(length).prefetch(tf.data.AUTOTUNE)

    def eval_batches(self, *, batch_size: int, image_shape: ImageShape) -> tf.data.Dataset:
        """Central crops of the test images, in the files' order."""

        def prepare(encoded: tf.Tensor, label: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            image = central_crop(encoded, image_shape, self._is_jpeg)
            return normalised_float(image, image_shape), label

        examples = _parsed(self._records(self.test_split, self.test_count))
        images = examples.map(prepare, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)
        return images.batch(batch_size).prefetch(tf.data.AUTOTUNE)

    def test_sample(self, count: int, image_shape: ImageShape) -> tuple[np.ndarray, np.ndarray]:
        """The first test images, as `eval_batches` prepares them, and their labels."""
        batches = self.eval_batches(batch_size=64, image_shape=image_shape).unbatch().take(count)
        images, labels = zip(*batches.as_numpy_iterator(), strict=True)
        return np.stack(images), np.stack(labels)

    def input_settings(self, image_shape: ImageShape) -> dict[str, Any]:
        """How the test images are prepared; see `pipeline.input_settings`."""
        return input_settings(image_shape, image_shape[:2], is_grey=False, crop=_MARGIN)

    @property
    def _is_jpeg(self) -> bool | None:
        """What the data set declares; `None` lets every image be looked at."""
        return True if self.builder.info.features["image"].encoding_format == "jpeg" else None

    def _records(self, split: str, count: int, order: tf.Tensor | None = None) -> tf.data.Dataset:
        info = self.builder.info.splits[split]
        files = tf.constant([os.fspath(path) for path in info.filepaths])
        # The first N images are those of the first files, whatever the order of reading.
        if order is None or count < info.num_examples:
            return tf.data.TFRecordDataset(files).take(count)
        files = tf.random.experimental.stateless_shuffle(files, seed=order)
        return tf.data.Dataset.from_tensor_slices(files).interleave(
            tf.data.TFRecordDataset,
            cycle_length=min(_OPEN_FILES, len(info.filepaths)),
            block_length=16,
            num_parallel_calls=tf.data.AUTOTUNE,
            deterministic=True,
        )


def _parsed(records: tf.data.Dataset) -> tf.data.Dataset:
    """Encoded images and labels; by the dozen, which costs a tenth of one by one."""
    features = {
        "image": tf.io.FixedLenFeature([], tf.string),
        "label": tf.io.FixedLenFeature([], tf.int64),
    }

    def parse(serialised: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        examples = tf.io.parse_example(serialised, features)
        return examples["image"], examples["label"]

    return records.batch(16).map(parse).unbatch()


def _shuffled(
    examples: tf.data.Dataset, buffer: int, seed: int, epoch: tf.Tensor
) -> tf.data.Dataset:
    # The op behind Dataset.shuffle, which would add TensorFlow's global seed to the given one.
    variant = tf.raw_ops.ShuffleDataset(
        input_dataset=tf.data.experimental.to_variant(examples),
        buffer_size=tf.constant(buffer, tf.int64),
        seed=tf.constant(seed, tf.int64),
        seed2=epoch + 1,  # with both 0 it would take any
        output_types=[spec.dtype for spec in examples.element_spec],
        output_shapes=[spec.shape for spec in examples.element_spec],
        reshuffle_each_iteration=False,
    )
    return tf.data.experimental.from_variant(variant, examples.element_spec)


def random_crop(
    encoded: tf.Tensor, image_shape: ImageShape, seed: tf.Tensor, is_jpeg: bool | None = None
) -> tf.Tensor:
    """A random part of an image, resized, and flipped every other time.

    8 to 100 % of the area, at an aspect from 3/4 to 4/3, as for the official networks. Of a JPEG
    only the blocks under the crop are decoded.

    # Arguments
        encoded: JPEG, PNG, BMP or the first frame of a GIF; a string scalar.
        image_shape: (height, width, channels) of the output.
        seed: int64 [2]; the same seed gives the same crop.
        is_jpeg: Whether the image is a JPEG; looked up if `None`.

    # Returns
        float32 image with values in [0, 255].
    """
    jpeg = tf.io.is_jpeg(encoded) if is_jpeg is None else is_jpeg
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
    flip = tf.random.stateless_uniform([], seed + tf.constant([0, 2**62], tf.int64)) < 0.5
    return _decode(encoded, tf.concat([begin[:2], size[:2]], 0), image_shape, flip, jpeg)


def central_crop(
    encoded: tf.Tensor, image_shape: ImageShape, is_jpeg: bool | None = None
) -> tf.Tensor:
    """The central square of an image, 224/256 of its shorter side, resized.

    # Arguments
        encoded: JPEG, PNG, BMP or the first frame of a GIF; a string scalar.
        image_shape: (height, width, channels) of the output.
        is_jpeg: Whether the image is a JPEG; looked up if `None`.

    # Returns
        float32 image with values in [0, 255].
    """
    jpeg = tf.io.is_jpeg(encoded) if is_jpeg is None else is_jpeg
    shape = _image_size(encoded, jpeg)[:2]
    side = tf.cast(tf.cast(tf.reduce_min(shape), tf.float32) * _MARGIN, tf.int32)
    side = tf.maximum(side, 1)
    window = tf.concat([(shape - side) // 2, [side, side]], 0)
    return _decode(encoded, window, image_shape, False, jpeg)


def _image_size(encoded: tf.Tensor, is_jpeg: tf.Tensor | bool) -> tf.Tensor:
    return _either(
        is_jpeg,
        lambda: tf.io.extract_jpeg_shape(encoded),
        lambda: tf.shape(tf.io.decode_image(encoded, expand_animations=False)),
    )


def _decode(
    encoded: tf.Tensor,
    window: tf.Tensor,
    image_shape: ImageShape,
    flip: tf.Tensor | bool,
    is_jpeg: tf.Tensor | bool,
) -> tf.Tensor:
    height, width, channels = image_shape

    def whole() -> tf.Tensor:
        image = tf.io.decode_image(encoded, channels=channels, expand_animations=False)
        top, left, tall, wide = tf.unstack(window)
        return image[top : top + tall, left : left + wide]

    def part() -> tf.Tensor:
        return tf.io.decode_and_crop_jpeg(
            encoded, window, channels=channels, dct_method="INTEGER_FAST", fancy_upscaling=False
        )

    image = _either(is_jpeg, part, whole)
    # Bytes are turned round faster than floats, and most crops are smaller than what they become.
    image = _either(flip, lambda: tf.reverse(image, [1]), lambda: image)
    # TensorFlow resizes floats by vector instructions, and bytes in twice the time without.
    image = tf.image.resize(tf.cast(image, tf.float32), [height, width])
    return tf.ensure_shape(image, image_shape)


def _either(
    condition: tf.Tensor | bool, yes: Callable[[], tf.Tensor], no: Callable[[], tf.Tensor]
) -> tf.Tensor:
    if isinstance(condition, bool):
        return yes() if condition else no()
    return tf.cond(condition, yes, no)


def stream(
    name: str,
    data_dir: str | os.PathLike | None = None,
    train_examples: int | None = None,
    test_examples: int | None = None,
) -> StreamedSource:
    """Opens a TFDS data set that is on this machine, to stream it; nothing is downloaded.

    # Arguments
        name: Any classification data set of TFDS with features `image` and `label`, such as
            `"imagenet2012"` or `"imagenette"`; also a folder's name below `data_dir` that TFDS
            wrote, and the embedded `"fashion_mnist_mini"`.
        data_dir: The TFDS data folder; TFDS's own default if `None`.
        train_examples: Take only the first so many training images.
        test_examples: Take only the first so many test images.

    # Returns
        A `StreamedSource`; it tests on the split `validation`, or `test` where there is none.

    # Raises
        ValueError: for features without `image` and `label`, absent splits, or a number of
            examples that is out of range.
        DatasetNotFoundError: If the data set is not on this machine.
        DatasetCorruptError: If a file of it is missing or damaged.
    """
    builder = open_builder(name, data_dir)
    features, splits = builder.info.features, builder.info.splits
    if not {"image", "label"} <= set(features):
        raise ValueError(
            f"Data set {name!r} has the features {sorted(features)}; classification needs 'image' "
            "and 'label'."
        )
    train = _chosen(name, splits, ("train",))
    test = _chosen(name, splits, ("validation", "test"))
    for split in (train, test):
        missing = [path for path in splits[split].filepaths if not os.path.exists(path)]
        if missing:
            raise DatasetCorruptError(
                f"Data set {name!r} lacks {len(missing)} of its files, the first {missing[0]}. "
                "Copy the folder again, or delete it and prepare it again with TFDS."
            )
    return StreamedSource(
        builder,
        train,
        test,
        _count(name, "train_examples", train_examples, splits[train].num_examples),
        _count(name, "test_examples", test_examples, splits[test].num_examples),
    )


def _chosen(name: str, splits: Iterable[str], wanted: tuple[str, ...]) -> str:
    for split in wanted:
        if split in splits:
            return split
    raise ValueError(
        f"Data set {name!r} has the splits {sorted(splits)}; needed is {' or '.join(wanted)}."
    )


def _count(name: str, argument: str, asked: int | None, present: int) -> int:
    if asked is not None and not 1 <= asked <= present:
        raise ValueError(f"{argument}={asked}: {name} allows 1 to {present}.")
    return present if asked is None else asked
