"""Damaged pictures and records: found, named, and left out where that is asked for."""

import contextlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import tensorflow as tf
from google.protobuf.message import DecodeError

from siman_larq.data.crops import decoded
from siman_larq.data.errors import DatasetCorruptError

__all__ = [
    "Damage",
    "damage_explained",
    "fault_of_picture",
    "fault_of_record",
    "left_out",
    "said_of_left_out",
]

_SHOWN = 5
_KINDS = {"JPEG": b"\xff\xd8\xff", "PNG": b"\x89PNG", "GIF": b"GIF8", "BMP": b"BM"}


@dataclass(frozen=True)
class Damage:
    """What cannot be read.

    # Arguments
        file: The file.
        number: The record in that file, counted from 0; `None` if the file is one picture.
        reason: What is wrong with it.
        count: Records that are lost by it: this one and those behind it.
    """

    file: str
    number: int | None
    reason: str
    count: int = 1

    def __str__(self) -> str:
        if self.number is None:
            return f"{self.file} {self.reason}"
        return f"Record {self.number} (counted from 0) of {self.file} {self.reason}"


class Readable(Protocol):
    """What can be searched for damage.

    # Attributes
        cure: What a person does about damage.
    """

    @property
    def cure(self) -> str: ...

    def damages(self) -> Iterator[Damage]:
        """What cannot be read, in the order of reading."""
        ...


@contextlib.contextmanager
def damage_explained(images: Readable) -> Iterator[None]:
    """Turns TensorFlow's errors about damaged images into one sentence.

    An input pipeline's error tells neither file nor record; only then all are read again, one by
    one, to find it.

    # Arguments
        images: What is read in the body.

    # Raises
        DatasetCorruptError: naming the first damaged record, in place of TensorFlow's error.
    """
    try:
        yield
    # TensorFlow's message cannot be decoded where it quotes the bytes that are wrong.
    except (tf.errors.OpError, UnicodeDecodeError) as error:
        if isinstance(error, UnicodeDecodeError) or "IteratorGetNext" in str(error):
            for damage in images.damages():
                raise DatasetCorruptError(f"{damage}. {images.cure}") from None
        raise


def left_out(
    damages: Iterable[Damage], limit: int, cure: str, found: tuple[Damage, ...] = ()
) -> tuple[Damage, ...]:
    """All that is damaged, to be left out.

    # Arguments
        damages: What is damaged.
        limit: How many records may be lost.
        cure: What a person does about it.
        found: What was found elsewhere, and counts too.

    # Returns
        `found`, and `damages`.

    # Raises
        DatasetCorruptError: when more are lost.
    """
    for damage in damages:
        found += (damage,)
        if sum(one.count for one in found) > limit:
            many = f"More than --skip-damaged {limit} are damaged: " if limit else ""
            raise DatasetCorruptError(f"{many}{_said_of(found)}. {cure}")
    return found


def said_of_left_out(damages: tuple[Damage, ...]) -> str:
    """What is added to a source's description, for people to read."""
    if not damages:
        return ""
    return f"; {sum(one.count for one in damages)} damaged left out: {_said_of(damages)}"


def _said_of(damages: tuple[Damage, ...]) -> str:
    more = f"; and {len(damages) - _SHOWN} more" if len(damages) > _SHOWN else ""
    return "; ".join(map(str, damages[:_SHOWN])) + more


def fault_of_picture(
    encoded: bytes, shape: "tuple[int | None, int | None, int]" = (None, None, 3)
) -> str | None:
    """Why an encoded picture cannot be used, or `None` if it can.

    # Arguments
        encoded: The bytes of a picture file.
        shape: (height, width, channels), with `None` for what may be any.
    """
    if not encoded:
        return "holds an empty picture"
    kind = next((kind for kind, magic in _KINDS.items() if encoded.startswith(magic)), None)
    try:
        size = decoded(tf.constant(encoded), shape[2]).shape
    except tf.errors.OpError as error:
        if kind is None:
            return "holds no picture that TensorFlow decodes: JPEG, PNG, GIF and BMP are known"
        if "palette" in str(error):
            return "holds a BMP with a palette, which TensorFlow decodes wrongly"
        return f"holds a {kind} that is cut short or damaged"
    if any(want not in (None, have) for want, have in zip(shape, size, strict=True)):
        return f"holds a picture of shape {tuple(size)}; its data set has {shape}"
    return None


def fault_of_record(record: bytes, features: Mapping[str, Any]) -> str | None:
    """Why a serialised record cannot be used, or `None` if it can.

    # Arguments
        record: A serialised `tf.train.Example`.
        features: The features of its TFDS data set.
    """
    try:
        fields = tf.train.Example.FromString(record).features.feature
    except DecodeError:
        return "is no tf.train.Example"
    for name, kind in (("image", "bytes_list"), ("label", "int64_list")):
        if name not in fields:
            return f"lacks the field {name!r}; it has {sorted(fields)}"
        if len(getattr(fields[name], kind).value) != 1:
            return f"has a field {name!r} that is not one value of {kind}"
    label, classes = fields["label"].int64_list.value[0], features["label"].num_classes
    if not 0 <= label < classes:
        return f"has the label {label}; its data set has {classes} classes, from 0 to {classes - 1}"
    height, width, channels = features["image"].shape
    shape = (height, width, channels or 3)
    return fault_of_picture(fields["image"].bytes_list.value[0], shape)
