"""Picture files: what they are, their pixels as siman-run on a Pi prepares them, and streams."""

import io
import os
import zlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from PIL import Image, ImageOps

from siman_larq.data.damage import Damage, fault_of_picture

__all__ = ["CURE", "FolderRecords", "Picture", "examined", "pixels_of"]

CURE = (
    "Repair it or take it away; or leave damaged pictures out: --skip-damaged N (in Python "
    "skip_damaged=N)."
)
_FORMATS = ("JPEG", "MPO", "PNG", "BMP", "GIF")  # MPO: JPEG with more behind it, of cameras
_SUFFIXES = {".heic", ".heif", ".avif", ".svg", ".jxl", ".raw", ".dng", ".cr2", ".nef", ".arw"}
_MAGIC = (b"\xff\xd8\xff", b"\x89PNG", b"GIF8", b"BM")
_GREY = ("1", "L", "LA", "I;16", "I")
_COLOURED = ("P", "PA", "RGB", "RGBA", "CMYK", "YCbCr")
_ORIENTATION = 0x0112


@dataclass(frozen=True)
class Picture:
    """A picture file.

    # Arguments
        path: The file.
        label: Its class.
        checksum: Of its bytes.
        turn: EXIF's orientation, from 1 to 8.
        is_grey: Whether it has no colours.
        fault: Why it cannot be used, as far as its header tells.
    """

    path: str
    label: int
    checksum: int = 0
    turn: int = 1
    is_grey: bool = False
    fault: str | None = None


def examined(path: str, label: int) -> Picture | None:
    """What the bytes and the header of a file tell; `None` if it is not meant as a picture."""
    try:
        with open(path, "rb") as file:
            content = file.read()
    except OSError as error:
        return Picture(path, label, fault=f"cannot be read ({error.strerror})")
    suffix = path[path.rfind(".") :].lower()
    is_meant = suffix in _SUFFIXES or suffix in Image.registered_extensions()
    if not is_meant and not content.startswith(_MAGIC):
        return None
    checksum = zlib.crc32(content)
    if not content:
        return Picture(path, label, checksum, fault="is empty")
    written = content.rstrip(b"\0")
    if content.startswith(b"\xff\xd8") and content != written and written[-2:] != b"\xff\xd9":
        # Pillow and a crop of TensorFlow's make grey or coloured blocks of it.
        return Picture(path, label, checksum, fault="ends in zeros: it was not copied to its end")
    try:
        with Image.open(io.BytesIO(content)) as image:
            turn = image.getexif().get(_ORIENTATION, 1)
            turn = turn if turn in range(1, 9) else 1
            return Picture(
                path, label, checksum, turn, image.mode in _GREY, _fault_of_header(image)
            )
    except Exception as error:  # Pillow's readers raise many kinds
        reason = "is no picture that can be read: JPEG, PNG, BMP and GIF are known"
        if isinstance(error, Image.DecompressionBombError):
            reason = "has more pixels than Pillow allows; save it smaller"
        return Picture(path, label, checksum, fault=reason)


def _fault_of_header(image: Any) -> str | None:
    frames = getattr(image, "n_frames", 1)
    if image.format not in _FORMATS:
        return f"is a {image.format}; JPEG, PNG, BMP and GIF are known, so save it as one of these"
    if frames > 1 and image.format != "MPO":
        return f"holds {frames} pictures (an animation): save the one that is meant"
    if image.mode not in (*_GREY, *_COLOURED):
        return f"has pixels of Pillow's mode {image.mode}; save it as a PNG, grey or RGB"
    return None


def pixels_of(picture: Picture, size: int, is_grey: bool) -> np.ndarray:
    """The central square of a picture, upright, resized to uint8 [size, size, 1 or 3].

    # Arguments
        picture: One without a fault.
        size: Height and width of what is given.
        is_grey: Whether it is turned grey.

    # Raises
        OSError: And other kinds, when the picture is damaged.
    """
    with Image.open(picture.path) as opened:
        image = ImageOps.exif_transpose(opened)
        image.load()
    if image.mode.startswith("I"):  # of 16 bits the upper ones; Pillow's own way cuts them off
        image = Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
    image.info.pop("transparency", None)  # of which Pillow would warn
    image = image.convert("L" if is_grey else "RGB")
    side = min(image.size)
    left, top = (image.width - side) / 2, (image.height - side) / 2
    box = (left, top, left + side, top + side)
    resized = image.resize((size, size), Image.Resampling.BILINEAR, box=box)
    return np.asarray(resized).reshape(size, size, -1)


@dataclass(frozen=True)
class FolderRecords:
    """Picture files that are read while a network trains.

    # Arguments
        pictures: What is read.
        left_out: What is damaged, and therefore not among them.
    """

    pictures: tuple[Picture, ...]
    left_out: tuple[Damage, ...] = ()

    @property
    def count(self) -> int:
        return len(self.pictures)

    @property
    def cure(self) -> str:
        return CURE

    def in_order(self) -> tf.data.Dataset:
        return self._read(tf.data.Dataset.range(self.count))

    def mixed(self, seed: int, epoch: tf.Tensor, buffer: int) -> tf.data.Dataset:
        """Names are mixed, not pictures: no buffer is needed."""
        numbers = tf.range(self.count, dtype=tf.int64)
        order = tf.random.experimental.stateless_shuffle(numbers, seed=tf.stack([seed, epoch]))
        return self._read(tf.data.Dataset.from_tensor_slices(order))

    def damages(self) -> Iterator[Damage]:
        with ThreadPoolExecutor() as pool:
            for picture, fault in zip(
                self.pictures, pool.map(_fault_of_file, self.pictures), strict=True
            ):
                if fault:
                    yield Damage(picture.path, None, fault)

    def _read(self, numbers: tf.data.Dataset) -> tf.data.Dataset:
        with tf.init_scope():  # so that they are no constants of a graph
            paths = tf.constant([os.fsencode(picture.path) for picture in self.pictures])
            labels = tf.constant([picture.label for picture in self.pictures], tf.int64)
            turns = tf.constant([picture.turn for picture in self.pictures], tf.int32)
        is_turned = any(picture.turn != 1 for picture in self.pictures)

        def read(number: tf.Tensor) -> tuple[tf.Tensor, ...]:
            encoded, label = tf.io.read_file(paths[number]), labels[number]
            return (encoded, label, turns[number]) if is_turned else (encoded, label)

        return numbers.map(read, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)


def _fault_of_file(picture: Picture) -> str | None:
    if picture.fault:
        return picture.fault
    try:
        return fault_of_picture(Path(picture.path).read_bytes())
    except OSError as error:
        return f"cannot be read ({error.strerror})"
