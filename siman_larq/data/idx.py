"""Reads IDX files, the format in which MNIST and Fashion-MNIST are published."""

import gzip
import math
import os
import struct
import zlib
from pathlib import Path

import numpy as np

from siman_larq.data.errors import DatasetCorruptError, DatasetNotFoundError

__all__ = ["read_idx", "read_idx_split"]

_UINT8 = 8  # IDX's code for unsigned bytes, the only type these data sets use
_PREFIX = {"train": "train", "test": "t10k"}


def _corrupt(path: Path, reason: object) -> DatasetCorruptError:
    return DatasetCorruptError(
        f"{path} is truncated or corrupt ({reason}). Get the file again; for Debian's copy: "
        "apt-get install --reinstall dataset-fashion-mnist"
    )


def read_idx(path: str | os.PathLike) -> np.ndarray:
    """Reads one gzip-compressed IDX file of unsigned bytes.

    # Arguments
    path: The file, such as `train-images-idx3-ubyte.gz`.

    # Returns
    A uint8 array of the shape that the file's header gives: [N, height, width] for images,
    [N] for labels.

    # Raises
    DatasetNotFoundError: If there is no such file.
    DatasetCorruptError: If the file is not gzip, is cut short, or is not IDX of unsigned bytes.
    """
    path = Path(path)
    try:
        content = gzip.decompress(path.read_bytes())
    except FileNotFoundError:
        raise DatasetNotFoundError(f"There is no file {path}.") from None
    except (EOFError, OSError, struct.error, zlib.error) as error:
        raise _corrupt(path, error) from error

    dimensions = content[3] if len(content) >= 4 else 0
    header = 4 + 4 * dimensions
    if content[:3] != bytes([0, 0, _UINT8]) or dimensions == 0 or len(content) < header:
        raise _corrupt(path, f"its header {content[:4].hex(' ')!r} is not IDX of unsigned bytes")
    shape = struct.unpack(f">{dimensions}I", content[4:header])
    expected, found = math.prod(shape), len(content) - header
    if found != expected:
        raise _corrupt(path, f"shape {shape} needs {expected} bytes of data, it has {found}")
    return np.frombuffer(content, np.uint8, offset=header).reshape(shape)


def read_idx_split(
    directory: str | os.PathLike, split: str, num_classes: int = 10
) -> tuple[np.ndarray, np.ndarray]:
    """Reads the images and labels of one split, in the files' own order.

    # Arguments
    directory: The folder with the four `*-ubyte.gz` files.
    split: `"train"` or `"test"`.
    num_classes: How many classes there are.

    # Returns
    The images, uint8 [N, height, width, 1], and the labels, int64 [N].

    # Raises
    DatasetNotFoundError: If one of the two files is absent.
    DatasetCorruptError: If a file is damaged, or the two do not belong together.
    """
    image_path = Path(directory) / f"{_PREFIX[split]}-images-idx3-ubyte.gz"
    label_path = Path(directory) / f"{_PREFIX[split]}-labels-idx1-ubyte.gz"
    images, labels = read_idx(image_path), read_idx(label_path)
    if images.ndim != 3:
        raise _corrupt(image_path, f"images need 3 dimensions, it has {images.ndim}")
    if not len(images):
        raise _corrupt(image_path, "it holds no images")
    if labels.shape != images.shape[:1]:
        raise _corrupt(label_path, f"{len(images)} images but labels of shape {labels.shape}")
    wrong = np.flatnonzero(labels >= num_classes)
    if len(wrong):
        reason = (
            f"label {wrong[0]} (counted from 0) is {labels[wrong[0]]}, of {num_classes} classes"
        )
        raise _corrupt(label_path, reason)
    return images[..., np.newaxis], labels.astype(np.int64)
