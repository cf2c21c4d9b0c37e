"""Reads single fields of a TFLite file, which is a FlatBuffer, with nothing but `struct`."""

import struct
from collections.abc import Iterator

__all__ = ["Table", "metadata_of"]

# Numbers of fields in TFLite's schema, version 3.
_BUFFERS, _METADATA = 4, 6
_NAME, _BUFFER = 0, 1
_DATA = 0


class Table:
    """One FlatBuffers table; reads that leave the file raise `struct.error`."""

    def __init__(self, content: bytes, at: int) -> None:
        self.content, self.at = content, at
        (distance,) = struct.unpack_from("<i", content, at)
        self.fields = at - distance
        if self.fields < 0:
            raise struct.error("before the file")
        (self.size,) = struct.unpack_from("<H", content, self.fields)

    @classmethod
    def root(cls, content: bytes) -> "Table":
        return cls(content, struct.unpack_from("<I", content, 0)[0])

    def place(self, field: int) -> int:
        """Where a field's value is, 0 if it is absent."""
        entry = 4 + 2 * field
        if entry + 2 > self.size:
            return 0
        (offset,) = struct.unpack_from("<H", self.content, self.fields + entry)
        return self.at + offset if offset else 0

    def number(self, field: int, kind: str) -> int:
        """An integer of `struct`'s kind, 0 if it is absent."""
        place = self.place(field)
        return struct.unpack_from("<" + kind, self.content, place)[0] if place else 0

    def data(self, field: int) -> bytes:
        """The bytes of a string or of a vector of bytes, none if it is absent."""
        start, count = self._vector(field)
        if start + count > len(self.content):
            raise struct.error("beyond the file")
        return self.content[start : start + count]

    def tables(self, field: int) -> "Iterator[Table]":
        """The tables of a vector, none if it is absent."""
        start, count = self._vector(field)
        for index in range(count):
            yield Table(self.content, self._target(start + 4 * index))

    def length(self, field: int) -> int:
        """Of a string or a vector, 0 if it is absent."""
        return self._vector(field)[1]

    def numbers(self, field: int) -> "tuple[int, ...]":
        """A vector of int32, empty if it is absent."""
        start, count = self._vector(field)
        return struct.unpack_from(f"<{count}i", self.content, start)

    def _vector(self, field: int) -> "tuple[int, int]":
        place = self.place(field)
        if not place:
            return 0, 0
        start = self._target(place)
        return start + 4, struct.unpack_from("<I", self.content, start)[0]

    def _target(self, place: int) -> int:
        return place + struct.unpack_from("<I", self.content, place)[0]


def metadata_of(content: bytes, name: str) -> "bytes | None":
    """What a TFLite file holds under a name in its metadata, `None` if there is no such name."""
    model = Table.root(content)
    for entry in model.tables(_METADATA):
        if entry.data(_NAME) == name.encode():
            buffers = list(model.tables(_BUFFERS))
            number = entry.number(_BUFFER, "I")
            if number >= len(buffers):
                raise struct.error("no such buffer")
            return buffers[number].data(_DATA)
    return None
