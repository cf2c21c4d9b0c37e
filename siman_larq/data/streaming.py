"""Images that are read, decoded and augmented while a network trains: ImageNet and its like.

Files are read in an order of their own in every epoch and mixed in a buffer of encoded images.
Which images a batch holds and how each is augmented is a function of (seed, epoch, position)
alone, so a resumed run sees what an unbroken one would have seen, and several workers together
see what one would.
"""

import hashlib
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import tensorflow as tf

from siman_larq.choices import AUGMENTATIONS, FOLDER, check_choice
from siman_larq.data.augmentation import erase
from siman_larq.data.crops import MARGIN, central_crop, flipped, random_crop
from siman_larq.data.damage import Damage, damage_explained, said_of_left_out
from siman_larq.data.datasets import open_builder
from siman_larq.data.folder import PictureFolder, open_folder
from siman_larq.data.images import ImageShape
from siman_larq.data.pictures import FolderRecords, Picture
from siman_larq.data.pipeline import (
    input_settings,
    normalised_float,
    steps_per_epoch,
)
from siman_larq.data.records import SHUFFLE_BUFFER, Records, open_shards
from siman_larq.data.sources import WHOLE, Share

__all__ = ["StreamedSource", "stream"]

_READ_AHEAD = 128  # images, to decode while the next epoch begins


@dataclass(frozen=True)
class StreamedSource:
    """Images in files, some for training and some for testing.

    # Arguments
        train: What is trained on.
        test: What is tested on.
        class_names: One name per class.
        origin: Where the images come from, for people to read.
        fingerprint: See `ImageSource`.
        erasing: Probability with which a rectangle of a training image becomes black, as for
            `siman_larq.data.train_batches`.
        augmentation: `"crop"`: random crops, resized and flipped every other time; `"flip"`:
            central crops, as they are tested, flipped every other time; `"none"`: central crops.
    """

    train: Records
    test: Records
    class_names: tuple[str, ...]
    origin: str
    fingerprint: str
    erasing: float = 0.0
    augmentation: str = "crop"

    @property
    def num_classes(self) -> int:
        return len(self.class_names)

    @property
    def train_count(self) -> int:
        return self.train.count

    @property
    def test_count(self) -> int:
        return self.test.count

    @property
    def left_out(self) -> tuple[str, ...]:
        return tuple(map(str, self.train.left_out + self.test.left_out))

    @property
    def source(self) -> str:
        return self.origin + said_of_left_out(self.train.left_out + self.test.left_out)

    @property
    def cure(self) -> str:
        return self.train.cure

    def damages(self) -> Iterator[Damage]:
        """What cannot be read and is not left out; all images are read to find it."""
        yield from self.train.damages()
        yield from self.test.damages()

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
        """Batches of augmented images; see `ImageSource.train_batches`."""
        check_choice("augmentation", self.augmentation, AUGMENTATIONS)
        steps = steps_per_epoch(self.train_count, batch_size)
        size = share.of(batch_size)

        @tf.autograph.experimental.do_not_convert  # plain Python, with loops over files
        def examples(epoch: tf.Tensor) -> tf.data.Dataset:
            mixed = self.train.mixed(seed, epoch, shuffle_buffer)
            numbered = mixed.take(steps * batch_size).enumerate(epoch * 2**32)
            return numbered.shard(share.pipelines, share.index)

        def prepare(
            number: tf.Tensor, example: tuple[tf.Tensor, ...]
        ) -> tuple[tf.Tensor, tf.Tensor]:
            encoded, label, *turn = example
            key = tf.stack([tf.constant(seed, tf.int64), number])
            if self.augmentation == "crop":
                image = random_crop(encoded, image_shape, key, *turn)
            else:
                image = central_crop(encoded, image_shape, *turn)
                image = flipped(image, key) if self.augmentation == "flip" else image
            if self.erasing:
                place = number // 2**32, number % 2**32  # epoch, and how many came before
                image = erase(image[tf.newaxis], self.erasing, seed, *place)[0]
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

        def prepare(
            encoded: tf.Tensor, label: tf.Tensor, *turn: tf.Tensor
        ) -> tuple[tf.Tensor, tf.Tensor]:
            image = central_crop(encoded, image_shape, *turn)
            return normalised_float(image, image_shape), label

        images = self.test.in_order().map(
            prepare, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True
        )
        return images.batch(batch_size).prefetch(tf.data.AUTOTUNE)

    def test_sample(self, count: int, image_shape: ImageShape) -> tuple[np.ndarray, np.ndarray]:
        """The first test images, as `eval_batches` prepares them, and their labels."""
        batches = self.eval_batches(batch_size=64, image_shape=image_shape).unbatch().take(count)
        with damage_explained(self):
            images, labels = zip(*batches.as_numpy_iterator(), strict=True)
        return np.stack(images), np.stack(labels)

    def input_settings(self, image_shape: ImageShape) -> dict[str, Any]:
        """How the test images are prepared; see `pipeline.input_settings`."""
        return input_settings(image_shape, image_shape[:2], is_grey=False, crop=MARGIN)


def stream(
    name: str,
    data_dir: str | os.PathLike | None = None,
    train_examples: int | None = None,
    test_examples: int | None = None,
    skip_damaged: int = 0,
    seed: int = 0,
) -> StreamedSource:
    """Opens a data set that is on this machine, to stream it; nothing is downloaded.

    # Arguments
        name: Any classification data set of TFDS with features `image` and `label`, such as
            `"imagenet2012"` or `"imagenette"`; also a folder's name below `data_dir` that TFDS
            wrote, and the embedded `"fashion_mnist_mini"`. Or `"folder:DIR"`: a folder with a
            folder of pictures for each class, or with two such, `train` and `test`.
        data_dir: The TFDS data folder; TFDS's own default if `None`.
        train_examples: Take only the first so many training images.
        test_examples: Take only the first so many test images.
        skip_damaged: Leave out up to so many records that cannot be read or decoded. Above 0, all
            images are decoded once to find them, so that every epoch leaves out the same.
        seed: Of the order and the split of a folder of pictures.

    # Returns
        A `StreamedSource`; it tests on the split `validation`, or `test` where there is none.

    # Raises
        ValueError: for features without `image` and `label`, absent or empty splits, or a number
            of examples that is out of range.
        DatasetNotFoundError: If the data set is not on this machine.
        DatasetCorruptError: If a file of it is missing or damaged, or more than `skip_damaged`
            records are.
    """
    if name.startswith(FOLDER):
        folder = open_folder(name, data_dir, seed)
        return _stream_folder(folder, train_examples, test_examples, skip_damaged)
    builder = open_builder(name, data_dir)
    splits = builder.info.splits
    train, test = open_shards(
        builder,
        {
            "train_examples": (_chosen(name, splits, ("train",)), train_examples),
            "test_examples": (_chosen(name, splits, ("validation", "test")), test_examples),
        },
        "Copy the data set again or prepare it again with TFDS.",
        skip_damaged,
    )
    class_names = tuple(builder.info.features["label"].names)
    origin = f"{builder.info.full_name}, streamed from {builder.data_dir}"
    parts = [(one.lengths, one.count, one.places_left_out) for one in (train, test)]
    # The first part alone is that of older versions, whose runs go on.
    prints = [(builder.info.full_name, parts), [one.sampled() for one in (train, test)]]
    fingerprint = ":".join(hashlib.sha256(repr(one).encode()).hexdigest() for one in prints)
    return StreamedSource(train, test, class_names, origin, fingerprint)


def _stream_folder(
    folder: PictureFolder, train_examples: int | None, test_examples: int | None, skip_damaged: int
) -> StreamedSource:
    def damages(pictures: tuple[Picture, ...]) -> Iterable[Damage]:
        if skip_damaged:
            return FolderRecords(pictures).damages()
        # What decoding alone tells is said when it comes to that.
        return [Damage(one.path, None, one.fault) for one in pictures if one.fault]

    asked = {"train": train_examples, "test": test_examples}
    (train, test), left_out = folder.undamaged(asked, damages, skip_damaged)
    used = repr((folder.fingerprint, len(train), len(test), len(left_out)))
    return StreamedSource(
        FolderRecords(train, left_out),
        FolderRecords(test),
        folder.class_names,
        folder.source,
        hashlib.sha256(used.encode()).hexdigest(),
    )


def _chosen(name: str, splits: Iterable[str], wanted: tuple[str, ...]) -> str:
    for split in wanted:
        if split in splits:
            return split
    raise ValueError(
        f"Data set {name!r} has the splits {sorted(splits)}; needed is {' or '.join(wanted)}."
    )
