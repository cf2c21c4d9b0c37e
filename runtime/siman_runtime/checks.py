"""What must hold of a file before the runtime sees it: it checks all else, or survives it."""

import struct

from siman_runtime.errors import ModelError

__all__ = ["check_file"]

_MAGIC = b"TFL3"
_VERSION_KNOWN = 1
# FlatBuffers: places of fields in the tables that describe them (TFLite's schema, version 3).
_CODES, _SUBGRAPHS, _BUFFERS = 4 + 2 * 1, 4 + 2 * 2, 4 + 2 * 4
_CUSTOM_CODE, _VERSION = 4 + 2 * 1, 4 + 2 * 2


class _Table:
    """One FlatBuffers table; every read is bounds-checked by `struct`."""

    def __init__(self, content: bytes, at: int) -> None:
        self.content, self.at = content, at
        (distance,) = struct.unpack_from("<i", content, at)
        self.fields = at - distance
        if self.fields < 0:
            raise struct.error("before the file")
        (self.size,) = struct.unpack_from("<H", content, self.fields)

    def place(self, field: int) -> int:
        """Where a field's value is, 0 if it is absent."""
        if field + 2 > self.size:
            return 0
        (offset,) = struct.unpack_from("<H", self.content, self.fields + field)
        return self.at + offset if offset else 0

    def target(self, place: int) -> int:
        (offset,) = struct.unpack_from("<I", self.content, place)
        return place + offset


def check_file(content: bytes) -> None:
    """Raises `ModelError` for files that are truncated, or that the runtime would not survive, and
    for versions of LCE's ops that are unknown, which the runtime does not tell a delegate."""
    if len(content) < 16 or content[4:8] != _MAGIC:
        raise ModelError(
            f"The model ({len(content)} bytes) is no TFLite file, or a truncated one: bytes 4 to 7 "
            "must be 'TFL3'. Copy it again."
        )
    try:
        (at,) = struct.unpack_from("<I", content, 0)
        model = _Table(content, at)
        fields = {"operator codes": _CODES, "subgraphs": _SUBGRAPHS, "buffers": _BUFFERS}
        for name, field in fields.items():
            if not model.place(field):
                raise ModelError(f"The model is damaged: it has no {name}. Copy it again.")
        codes = model.target(model.place(_CODES))
        (count,) = struct.unpack_from("<I", content, codes)
        for index in range(count):
            _check_code(_Table(content, model.target(codes + 4 + 4 * index)))
    except struct.error:
        raise ModelError("The model is damaged: a table is out of bounds. Copy it again.") from None


def _check_code(code: _Table) -> None:
    place, version = code.place(_CUSTOM_CODE), code.place(_VERSION)
    if not place or not version:
        return
    text = code.target(place)
    (length,) = struct.unpack_from("<I", code.content, text)
    name = code.content[text + 4 : text + 4 + length]
    (number,) = struct.unpack_from("<i", code.content, version)
    if name.startswith(b"Lce") and number != _VERSION_KNOWN:
        raise ModelError(
            f"{name.decode(errors='replace')}: version {number}; known is {_VERSION_KNOWN}. This "
            "model is newer than this siman-runtime: update it."
        )
