"""The encoded images and labels of one split, from files that TFDS wrote."""

import contextlib
import os
import zlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Protocol

import numpy as np
import tensorflow as tf
import tensorflow_datasets as tfds

from siman_larq.data.damage import Damage, fault_of_record, left_out
from siman_larq.data.errors import DatasetCorruptError

__all__ = ["SHUFFLE_BUFFER", "Records", "ShardRecords", "chosen_count", "open_shards"]

SHUFFLE_BUFFER = 4096
"""Encoded images that are mixed with each other; about 0.5 GB of ImageNet."""

_OPEN_FILES = 16
_CHUNK = 64
_END = 2**16  # bytes


class Records(Protocol):
    """The encoded images of one split.

    Elements are pairs of an encoded image and its label, and where pictures are to be turned, a
    third: EXIF's orientation.

    # Attributes
        count: How many there are.
        left_out: What is damaged, and therefore not among them.
        cure: What a person does about damage.
    """

    @property
    def count(self) -> int: ...

    @property
    def left_out(self) -> tuple[Damage, ...]: ...

    @property
    def cure(self) -> str: ...

    def in_order(self) -> tf.data.Dataset:
        """All of them, always in the same order."""
        ...

    def mixed(self, seed: int, epoch: tf.Tensor, buffer: int) -> tf.data.Dataset:
        """All of them, in an order that depends on seed and epoch alone."""
        ...

    def damages(self) -> Iterator[Damage]:
        """What cannot be read, in the order of reading."""
        ...


@dataclass(frozen=True)
class ShardRecords:
    """The first records of TFDS's files.

    # Arguments
        files: The files of the split.
        lengths: How many records each file holds.
        features: The data set's features, `image` and `label` among them.
        count: How many records are used, the first of those that are not left out.
        cure: What a person does about damage.
        left_out: Records that are not used.
    """

    files: tuple[str, ...]
    lengths: tuple[int, ...]
    features: Any
    count: int
    cure: str
    left_out: tuple[Damage, ...] = ()

    @property
    def present(self) -> int:
        """How many records could be used."""
        return sum(self.lengths) - sum(damage.count for damage in self.left_out)

    @property
    def places_left_out(self) -> list[tuple[str, int | None, int]]:
        """What is left out, wherever the files lie."""
        return [(os.path.basename(one.file), one.number, one.count) for one in self.left_out]

    def sampled(self) -> list[tuple[int, int]]:
        """Of every file its size and a checksum of both ends: to read all of it takes too long."""

        def sample(file: str) -> tuple[int, int]:
            size = os.path.getsize(file)
            with open(file, "rb") as stream:
                first = stream.read(_END)
                stream.seek(max(0, size - _END))
                return size, zlib.crc32(stream.read(_END), zlib.crc32(first))

        with ThreadPoolExecutor() as pool:
            return list(pool.map(sample, self.files))

    def in_order(self) -> tf.data.Dataset:
        return self._parsed(
            tf.data.Dataset.range(len(self.files)).flat_map(self._file).take(self.count)
        )

    def mixed(self, seed: int, epoch: tf.Tensor, buffer: int = SHUFFLE_BUFFER) -> tf.data.Dataset:
        # The first N images are those of the first files, whatever the order of reading.
        if self.count < self.present:
            return _shuffled(self.in_order(), buffer, seed, epoch)
        numbers = tf.range(len(self.files), dtype=tf.int64)
        order = tf.random.experimental.stateless_shuffle(numbers, seed=tf.stack([seed, epoch]))
        records = tf.data.Dataset.from_tensor_slices(order).interleave(
            self._file,
            cycle_length=min(_OPEN_FILES, len(self.files)),
            block_length=16,
            num_parallel_calls=tf.data.AUTOTUNE,
            deterministic=True,
        )
        return _shuffled(self._parsed(records), buffer, seed, epoch)

    def damages(self) -> Iterator[Damage]:
        check = partial(fault_of_record, features=self.features)
        good = 0
        with ThreadPoolExecutor() as pool:
            for file, length in zip(self.files, self.lengths, strict=True):
                number = 0
                for chunk in _chunks(file):
                    for fault in pool.map(check, chunk):
                        if fault:
                            yield from self._new(Damage(file, number, fault))
                        good += not fault
                        number += 1
                        if good == self.count < sum(self.lengths):
                            return
                if number < length:
                    reason = "is lost: the file ends there, or cannot be read on"
                    yield from self._new(Damage(file, number, reason, length - number))
                if number > length:
                    raise DatasetCorruptError(
                        f"{file} holds {number} records, dataset_info.json beside it says {length}."
                        f" {self.cure}"
                    )

    def without(self, found: tuple[Damage, ...]) -> "ShardRecords":
        """The same without what is damaged in its files."""
        own = tuple(damage for damage in found if damage.file in self.files)
        left = sum(self.lengths) - sum(damage.count for damage in own)
        if not left:
            raise DatasetCorruptError(f"No record of {self.files[0]} can be read. {self.cure}")
        return replace(self, left_out=own, count=min(self.count, left))

    def _new(self, damage: Damage) -> list[Damage]:
        return [] if damage in self.left_out else [damage]

    def _file(self, number: tf.Tensor) -> tf.data.Dataset:
        """One file's records; more or fewer than its description says are an error."""
        lengths = list(self.lengths)
        limits, spots = [-1] * len(lengths), []
        for damage in self.left_out:
            file, first = self.files.index(damage.file), damage.number or 0
            if first + damage.count == self.lengths[file]:
                # Behind it nothing can be read.
                limits[file] = lengths[file] = first
            else:
                spots.append(file * 2**32 + first)
        records = tf.data.TFRecordDataset(tf.gather(self.files, number))
        records = records.take(tf.gather(tf.constant(limits, tf.int64), number))
        length = tf.gather(tf.constant(lengths, tf.int64), number)
        records = records.apply(tf.data.experimental.assert_cardinality(length))
        if not spots:
            return records
        numbered = records.enumerate(number * 2**32)
        bad = tf.constant(spots, tf.int64)
        return numbered.filter(lambda n, _: tf.reduce_all(n != bad)).map(lambda _, record: record)

    def _parsed(self, records: tf.data.Dataset) -> tf.data.Dataset:
        """Encoded images and labels; by the dozen, which costs a tenth of one by one."""
        features = {
            "image": tf.io.FixedLenFeature([], tf.string),
            "label": tf.io.FixedLenFeature([], tf.int64),
        }
        classes = self.features["label"].num_classes

        def parse(serialised: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            examples = tf.io.parse_example(serialised, features)
            labels = examples["label"]
            # The loss of a GPU makes NaN of any other label.
            tf.debugging.Assert(tf.reduce_all((labels >= 0) & (labels < classes)), [labels])
            return examples["image"], labels

        return records.batch(16).map(parse).unbatch()


def _chunks(file: str) -> Iterator[list[bytes]]:
    """The records of a file as far as it can be read, some at a time."""
    chunk = []
    with contextlib.suppress(tf.errors.OpError):
        for record in tf.data.TFRecordDataset(file).as_numpy_iterator():
            chunk.append(record)
            if len(chunk) == _CHUNK:
                yield chunk
                chunk = []
    yield chunk


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


def open_shards(
    builder: tfds.core.DatasetBuilder,
    wanted: dict[str, tuple[str, int | None]],
    cure: str,
    skip_damaged: int = 0,
) -> list[ShardRecords]:
    """The records of some splits of a prepared data set.

    # Arguments
        builder: A prepared TFDS builder.
        wanted: For each, the name of the argument that says how many records are used, for errors,
            and the split's name and that number; all if it is `None`.
        cure: What a person does about damage, but for leaving it out.
        skip_damaged: How many damaged records may be left out, in all.

    # Raises
        ValueError: If features are not those of a classification, or a split is empty or smaller
            than what is asked for.
        DatasetCorruptError: If a file is missing, or more than `skip_damaged` records are damaged.
    """
    _check_features(builder, cure)
    skip = "To leave damaged records out: --skip-damaged N (in Python skip_damaged=N)."
    opened: list[ShardRecords] = []
    found: tuple[Damage, ...] = ()
    for argument, (split, asked) in wanted.items():
        info = builder.info.splits[split]
        files = tuple(os.fspath(path) for path in info.filepaths)
        missing = [path for path in files if not os.path.exists(path)]
        if missing:
            raise DatasetCorruptError(
                f"Data set {builder.name!r} lacks {len(missing)} of its files, the first "
                f"{missing[0]}. {cure}"
            )
        count = chosen_count(builder.name, split, argument, asked, info.num_examples)
        lengths = tuple(info.shard_lengths)
        records = ShardRecords(files, lengths, builder.info.features, count, f"{cure} {skip}")
        if skip_damaged:
            found = left_out(records.damages(), skip_damaged, records.cure, found)
            records = records.without(found)
        opened.append(records)
    return opened


def chosen_count(name: str, split: str, argument: str, asked: int | None, present: int) -> int:
    """How many records of a split are used.

    # Raises
        ValueError: If there are none, or fewer than what is asked for.
    """
    if present == 0:
        raise ValueError(f"The split {split!r} of data set {name!r} is empty.")
    if asked is not None and not 1 <= asked <= present:
        raise ValueError(f"{argument}={asked}: {name} allows 1 to {present}.")
    return present if asked is None else asked


def _check_features(builder: tfds.core.DatasetBuilder, cure: str) -> None:
    name, features = builder.name, builder.info.features
    found = dict(features.items()) if isinstance(features, tfds.features.FeaturesDict) else {}
    kinds = {"image": tfds.features.Image, "label": tfds.features.ClassLabel}
    if any(not isinstance(found.get(key), kind) for key, kind in kinds.items()):
        have = ", ".join(f"{key!r} ({type(value).__name__})" for key, value in found.items())
        raise ValueError(
            f"Data set {name!r} has the features {have or features}; classification needs 'image' "
            "(Image) and 'label' (ClassLabel)."
        )
    if found["image"].np_dtype not in (np.uint8, np.uint16):
        raise ValueError(
            f"Data set {name!r} has images of {np.dtype(found['image'].np_dtype)}; uint8 and "
            "uint16 are known."
        )
    if not found["label"].num_classes:
        raise ValueError(
            f"Data set {name!r} does not say how many classes it has: prepare it with "
            "ClassLabel(names=[...])."
        )
    if len(found["label"].names) != found["label"].num_classes:
        raise DatasetCorruptError(
            f"Data set {name!r} has {len(found['label'].names)} names in label.labels.txt, but "
            f"{found['label'].num_classes} classes in features.json. {cure}"
        )
