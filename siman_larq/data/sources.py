"""What a training reads: one interface to images in memory and to images that stream."""

import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import tensorflow as tf

from siman_larq.data import pipeline
from siman_larq.data.damage import Damage
from siman_larq.data.images import ImageData, ImageShape

__all__ = ["WHOLE", "ImageSource", "MemorySource", "Share"]


@dataclass(frozen=True)
class Share:
    """The part of every global batch that one input pipeline gives.

    # Arguments
        index: Which pipeline, from 0.
        pipelines: How many pipelines there are, one for each worker.
        replicas: Replicas that this pipeline feeds, one batch after another.
    """

    index: int = 0
    pipelines: int = 1
    replicas: int = 1

    def of(self, batch_size: int) -> int:
        """Images that one replica gets of a global batch.

        # Raises
            ValueError: when the batch cannot be divided evenly.
        """
        parts = self.pipelines * self.replicas
        if batch_size % parts:
            raise ValueError(
                f"batch_size={batch_size} cannot be divided evenly among {parts} replicas; use a "
                f"multiple of {parts}."
            )
        return batch_size // parts


WHOLE = Share()


class ImageSource(Protocol):
    """Training and test images for a classification, however they are kept.

    # Attributes
        num_classes: How many classes there are.
        class_names: One name per class.
        source: Where the images come from, for people to read.
        train_count: Number of training images.
        test_count: Number of test images.
        left_out: What is damaged, and therefore neither trained nor tested on.
        cure: What a person does about damage.
        fingerprint: It is another one when other images would be trained or tested on.
    """

    @property
    def num_classes(self) -> int: ...

    @property
    def class_names(self) -> tuple[str, ...]: ...

    @property
    def source(self) -> str: ...

    @property
    def train_count(self) -> int: ...

    @property
    def test_count(self) -> int: ...

    @property
    def left_out(self) -> tuple[str, ...]: ...

    @property
    def cure(self) -> str: ...

    @property
    def fingerprint(self) -> str: ...

    def damages(self) -> Iterator[Damage]:
        """What cannot be read and is not left out; all images are read to find it."""
        ...

    def train_batches(
        self,
        *,
        batch_size: int,
        image_shape: ImageShape,
        seed: int,
        first_epoch: int,
        epochs: int,
        share: Share = WHOLE,
    ) -> tf.data.Dataset:
        """Augmented batches of the epochs `first_epoch` to `epochs - 1`.

        Which images a global batch holds, and how each is augmented, depends on seed, epoch and
        step alone, and not on `share`.
        """
        ...

    def eval_batches(self, *, batch_size: int, image_shape: ImageShape) -> tf.data.Dataset:
        """The test images in order, not augmented."""
        ...

    def test_sample(self, count: int, image_shape: ImageShape) -> tuple[np.ndarray, np.ndarray]:
        """The first `count` test images (fewer if there are fewer), prepared, and their labels."""
        ...

    def input_settings(self, image_shape: ImageShape) -> dict[str, Any]:
        """How the test images are prepared; see `pipeline.input_settings`."""
        ...


@dataclass(frozen=True)
class MemorySource:
    """Images that fit in memory, with the augmentation of CIFAR.

    # Arguments
        data: The images.
        erasing: As for `siman_larq.data.train_batches`, as is the next.
        augmentation: Of training images.
    """

    data: ImageData
    erasing: float = 0.0
    augmentation: str = "crop"

    @property
    def num_classes(self) -> int:
        return self.data.num_classes

    @property
    def class_names(self) -> tuple[str, ...]:
        return self.data.class_names

    @property
    def source(self) -> str:
        return self.data.source

    @property
    def train_count(self) -> int:
        return len(self.data.train_images)

    @property
    def test_count(self) -> int:
        return len(self.data.test_images)

    @property
    def left_out(self) -> tuple[str, ...]:
        return self.data.left_out

    @property
    def cure(self) -> str:
        return ""

    @property
    def fingerprint(self) -> str:
        data = self.data
        arrays = data.train_images, data.train_labels, data.test_images, data.test_labels
        return " ".join(f"{zlib.crc32(array.tobytes()):08x}" for array in arrays)

    def damages(self) -> Iterator[Damage]:
        return iter(())  # all was read before

    def train_batches(
        self,
        *,
        batch_size: int,
        image_shape: ImageShape,
        seed: int,
        first_epoch: int,
        epochs: int,
        share: Share = WHOLE,
    ) -> tf.data.Dataset:
        batches = pipeline.train_batches(
            self.data,
            batch_size=batch_size,
            image_shape=image_shape,
            seed=seed,
            first_epoch=first_epoch,
            epochs=epochs,
            augmentation=self.augmentation,
            erasing=self.erasing,
        )
        size = share.of(batch_size)
        if share == WHOLE:
            return batches
        # Images in memory are cheap to augment: every pipeline makes the batch and takes its part.
        parts = batches.unbatch().batch(size, drop_remainder=True)
        first, count = share.index * share.replicas, share.pipelines * share.replicas

        def is_mine(number: tf.Tensor, _: tf.Tensor) -> tf.Tensor:
            part = number % count
            return (part >= first) & (part < first + share.replicas)

        return parts.enumerate().filter(is_mine).map(lambda _, batch: batch).prefetch(2)

    def eval_batches(self, *, batch_size: int, image_shape: ImageShape) -> tf.data.Dataset:
        return pipeline.eval_batches(
            self.data.test_images,
            self.data.test_labels,
            batch_size=batch_size,
            image_shape=image_shape,
        )

    def test_sample(self, count: int, image_shape: ImageShape) -> tuple[np.ndarray, np.ndarray]:
        images = pipeline.prepare(self.data.test_images[:count], image_shape)
        return images, self.data.test_labels[:count]

    def input_settings(self, image_shape: ImageShape) -> dict[str, Any]:
        size, channels = self.data.test_images.shape[1:3], self.data.test_images.shape[3]
        return pipeline.input_settings(image_shape, size, is_grey=channels == 1, crop=1.0)
