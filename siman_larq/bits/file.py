"""The file of binary weights: an archive of NumPy arrays, without TensorFlow.

| array | what |
|---|---|
| `header` | JSON in UTF-8, as bytes: format, version, order of bits, and an entry for each weight |
| `bits` | the codes of binary kernels, 1 bit a weight, the first in the highest bit of a byte |
| `float32` | all other weights, and levels that differ from filter to filter |
| `int64`, `bool` and so on | what models have of other types, such as counts |

An entry says of which layer it is (`layer`, `class`, `name`), its `shape` and `dtype`, and where it
is: from element `start` of `array` on. Kernels are in C order and begin at a whole byte. Their
`levels` are the weights that the bits 0 and 1 stand for, or, where every filter has its own,
the place of as many low ones, and then high ones, in `float32`; filters lie along `filter_axes`.
The header's `layers` are the settings of layers, with and without weights, that the weights do not
show, and what they are called with; `outputs` are the tensors that the model gives. Files of
siman-larq before 2026-11-28 have neither.

The archive's comment is the SHA-256 of everything before it, so no byte can change unseen.
"""

import hashlib
import io
import json
import math
import os
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from siman_larq.bits.entries import (
    DTYPES,
    Described,
    Stored,
    described_in,
    entries_of,
    layer_entries_of,
    stored_in,
)
from siman_larq.bits.errors import BinaryFileError

__all__ = ["Contents", "contents", "packed", "read"]

FORMAT = "siman-larq binary weights"
VERSION = 1
_SEAL = b"siman-larq SHA-256 "
_DIGEST = 64
# What the header of the largest networks takes is below 1 MiB.
_LONGEST_HEADER = 2**24
_DTYPES = {"header": "uint8", "bits": "uint8"} | {name: name for name in DTYPES}


@dataclass(frozen=True)
class Contents:
    """What a file of binary weights holds.

    # Attributes
        weights: The weights of a model, in its order.
        layers: Its layers and their settings, in its order; none in older files.
        outputs: The tensors that it gives; `None` where that is not known.
    """

    weights: list[Stored]
    layers: list[Described]
    outputs: list[str] | None = None


def packed(contents: Contents) -> bytes:
    """The file of contents; equal ones give equal bytes."""
    entries, arrays = entries_of(contents.weights)
    header = {"format": FORMAT, "version": VERSION, "bit_order": "big", "weights": entries}
    if contents.layers:
        header["layers"] = layer_entries_of(contents.layers)
    if contents.outputs is not None:
        header["outputs"] = contents.outputs
    content = json.dumps(header, separators=(",", ":"), allow_nan=False).encode()
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        for name, array in [("header", np.frombuffer(content, np.uint8)), *arrays.items()]:
            member = zipfile.ZipInfo(f"{name}.npy")  # of 1980, on every machine
            member.create_system = 3
            # The header alone, which says the same again and again.
            member.compress_type = zipfile.ZIP_DEFLATED if name == "header" else zipfile.ZIP_STORED
            npy = io.BytesIO()
            little = array.astype(_dtype(name), copy=False)
            np.lib.format.write_array(npy, little, version=(1, 0), allow_pickle=False)
            archive.writestr(member, npy.getvalue())
        archive.comment = _SEAL + bytes(_DIGEST)
    body = stream.getvalue()[:-_DIGEST]
    return body + hashlib.sha256(body).hexdigest().encode()


def read(path: str | os.PathLike) -> list[Stored]:
    """The weights in a file of `siman_larq.save_binary`, in its order.

    # Arguments
        path: The file.

    # Raises
        BinaryFileError: for a file that is damaged, was written by a newer version, or is none.
    """
    return contents(path).weights


def contents(path: str | os.PathLike) -> Contents:
    """All that is in a file of `siman_larq.save_binary`; nothing in it is trusted.

    # Arguments
        path: The file.

    # Raises
        BinaryFileError: for a file that is damaged, was written by a newer version, or is none.
    """
    data, path = Path(path).read_bytes(), str(path)
    _check_seal(data, path)
    try:
        arrays = _arrays(data)
        header = json.loads(arrays.pop("header").tobytes())
        if not isinstance(header, dict) or header.get("format") != FORMAT:
            raise ValueError("its header is of another format")
    except Exception as error:  # zipfile and NumPy raise many kinds
        raise _malformed(path, error) from error
    version = header.get("version")
    if type(version) is int and version > VERSION:
        raise BinaryFileError(
            f"{path} is a file of binary weights of version {version}, and this siman-larq reads "
            f"version {VERSION}: install a newer siman-larq."
        )
    try:
        if type(version) is not int or version != VERSION or header.get("bit_order") != "big":
            raise ValueError(f"its version is {version!r:.40}")
        return Contents(stored_in(header.get("weights"), arrays), *described_in(header))
    except (ValueError, OverflowError) as error:
        raise _malformed(path, error) from error


def _malformed(path: str, error: Exception) -> BinaryFileError:
    reason = " ".join(str(error).split())[:200].rstrip(".") or type(error).__name__
    return BinaryFileError(
        f"{path} is no file of binary weights that siman_larq.save_binary wrote ({reason}); save "
        "the model again."
    )


def _check_seal(data: bytes, path: str) -> None:
    body, digest = data[:-_DIGEST], data[-_DIGEST:]
    if body.endswith(_SEAL) and hashlib.sha256(body).hexdigest().encode() == digest:
        return
    begins_as_ours = data[30:40] == b"header.npy"
    if body.endswith(_SEAL) or begins_as_ours:
        raise BinaryFileError(
            f"{path} was cut or changed since it was written (its SHA-256 is another): copy it "
            "again, or save the model again."
        )
    raise BinaryFileError(
        f"{path} is no file of binary weights; siman_larq.save_binary(model, 'model.npz') writes "
        "them."
    )


def _arrays(data: bytes) -> dict[str, np.ndarray]:
    """The arrays of an archive, none larger than the file but for the header."""
    arrays: dict[str, np.ndarray] = {}
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        for member in archive.infolist():
            name = member.filename.removesuffix(".npy")
            if name not in _DTYPES or f"{name}.npy" != member.filename or name in arrays:
                raise ValueError(f"it has a part {member.filename[:40]!r}")
            most = _LONGEST_HEADER if name == "header" else len(data)
            if member.file_size > most or (
                name != "header" and member.compress_type != zipfile.ZIP_STORED
            ):
                raise ValueError(f"its part {name} is compressed, or too long")
            arrays[name] = _array(name, archive.read(member))
    if not arrays.keys() >= {"header", "bits", "float32"}:
        raise ValueError("it lacks header, bits or float32")
    return arrays


def _array(name: str, content: bytes) -> np.ndarray:
    """An array as NumPy writes it, which is looked at before memory is taken for it."""
    stream = io.BytesIO(content)
    if np.lib.format.read_magic(stream) != (1, 0):
        raise ValueError(f"its part {name} is of another version of NumPy's format")
    shape, _, dtype = np.lib.format.read_array_header_1_0(stream)
    rest = content[stream.tell() :]
    if dtype != _dtype(name) or len(shape) != 1 or math.prod(shape) * dtype.itemsize != len(rest):
        raise ValueError(f"its part {name} is of type {dtype} and shape {shape!r:.60}")
    return np.frombuffer(rest, dtype)


def _dtype(name: str) -> Any:
    return np.dtype(_DTYPES[name]).newbyteorder("<")
