"""What must hold of a file before the runtime sees it: it checks all else, or survives it."""

import os
import struct
from pathlib import Path

from siman_runtime.errors import ModelError
from siman_runtime.flatbuffer import Table

__all__ = ["check_file", "read_model"]

_MAGIC = b"TFL3"
_VERSION_KNOWN = 1
# Numbers of fields in TFLite's schema, version 3.
_CODES, _SUBGRAPHS, _BUFFERS = 1, 2, 4
_CUSTOM_CODE, _VERSION = 1, 2
_TENSORS, _INPUTS = 0, 1  # of a subgraph
_BUFFER = 2  # of a tensor
_DATA, _OFFSET = 0, 1  # of a buffer
# First bytes of what people give in place of a TFLite file.
_OTHERS = {
    b"PK": "a .keras file (or another ZIP archive): convert it with siman-larq first",
    b"\x89HDF": "a Keras model in HDF5: convert it with siman-larq first",
    b"version https://git-lfs": "a pointer of Git LFS: run git lfs pull where it came from",
}
# Ops of LCE's first versions, whose meaning has changed.
_OLD_OPS = (b"Lqce", b"LceBsign")


def read_model(path: "str | os.PathLike") -> bytes:
    """The bytes of a file; raises an error that says what is wrong with its path."""
    try:
        file = Path(path)
    except TypeError:
        raise ValueError(f"model={path!r} is neither the path of a file nor its bytes.") from None
    if file.is_dir():
        raise FileNotFoundError(f"There is no model at {path}, which is a folder: name the file.")
    if not file.is_file():
        raise FileNotFoundError(f"There is no model at {path}.")
    return file.read_bytes()


def check_file(content: bytes) -> None:
    """Raises `ModelError` for files that are truncated, or that the runtime would not survive, and
    for versions of LCE's ops that are unknown, which the runtime does not tell a delegate."""
    if len(content) < 16 or content[4:8] != _MAGIC:
        for start, kind in _OTHERS.items():
            if content.startswith(start):
                raise ModelError(f"The model is no TFLite file but {kind}.")
        raise ModelError(
            f"The model ({len(content)} bytes) is no TFLite file, or a truncated one: bytes 4 to 7 "
            "must be 'TFL3'. Copy it again."
        )
    try:
        model = Table.root(content)
        fields = {"operator codes": _CODES, "subgraphs": _SUBGRAPHS, "buffers": _BUFFERS}
        for name, field in fields.items():
            if not model.place(field):
                raise ModelError(f"The model is damaged: it has no {name}. Copy it again.")
        for code in model.tables(_CODES):
            _check_op(code.data(_CUSTOM_CODE), code.number(_VERSION, "i"))
        _check_inputs(model)
    except struct.error:
        raise ModelError("The model is damaged: a table is out of bounds. Copy it again.") from None


def _check_inputs(model: Table) -> None:
    """That no input is a constant: setting it would write into the caller's bytes."""
    buffers = list(model.tables(_BUFFERS))
    for graph in model.tables(_SUBGRAPHS):
        tensors = list(graph.tables(_TENSORS))
        for index in set(graph.numbers(_INPUTS)):
            # The runtime refuses indices that are out of bounds, with its own words.
            number = tensors[index].number(_BUFFER, "I") if 0 <= index < len(tensors) else 0
            if number < len(buffers) and (
                buffers[number].length(_DATA) or buffers[number].number(_OFFSET, "Q")
            ):
                raise ModelError(
                    f"Input tensor {index} is a constant. The file is damaged: convert the model "
                    "again."
                )


def _check_op(name: bytes, version: int) -> None:
    if name.startswith(_OLD_OPS):
        raise ModelError(
            f"{name.decode(errors='replace')}: this op is of an old Larq Compute Engine. Convert "
            "the Keras model again with larq-compute-engine 0.16.0."
        )
    # A version that is not stored is 1, the format's default.
    if name.startswith(b"Lce") and version not in (0, _VERSION_KNOWN):
        raise ModelError(
            f"{name.decode(errors='replace')}: version {version}; known is {_VERSION_KNOWN}. This "
            "model is newer than this siman-runtime: update it."
        )
