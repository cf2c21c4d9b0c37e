"""The entries of a file of binary weights, one for each weight of a model, and for each layer."""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

__all__ = [
    "DTYPES",
    "STORABLE",
    "Described",
    "Stored",
    "described_in",
    "entries_of",
    "layer_entries_of",
    "stored_in",
]

_DESCRIBED = {"layer": str, "class": str, "settings": dict}
_HALVES = ("float16", "bfloat16")  # kept as float32, which holds all their values
DTYPES = (
    *("float32", "float64", "bool", "int8", "int16", "int32", "int64"),
    *("uint8", "uint16", "uint32", "uint64"),
)
"""The types of arrays, but for the codes; they are the arrays' names too."""
STORABLE = DTYPES + _HALVES
"""The types of weights."""


@dataclass(frozen=True)
class Stored:
    """A weight as a file of binary weights holds it.

    # Attributes
        layer: The name of the innermost layer that has it.
        kind: The class of that layer.
        name: The weight's own name, such as `"kernel"`.
        dtype: The type that the model has it in.
        quantizer: The class and the precision of its quantizer, if it has one.
        filter_axes: The axes of a kernel that tell its filters apart.
        code: The bits of a binary kernel, boolean, of the kernel's shape; else `None`.
        levels: The weights that the bits 0 and 1 stand for, float32: shape `(2,)`, or `(2, ...)`
            with sizes of 1 along all axes but those of filters.
        values: The weights: the levels where there is a code.
    """

    layer: str
    kind: str
    name: str
    dtype: str
    values: np.ndarray
    quantizer: tuple[str, int] | None = None
    filter_axes: tuple[int, ...] = (-1,)
    code: np.ndarray | None = None
    levels: np.ndarray | None = None

    @property
    def shape(self) -> tuple[int, ...]:
        return self.values.shape

    @property
    def is_binary(self) -> bool:
        """Whether its quantizer has precision 1; its code may be there or not."""
        return self.quantizer is not None and self.quantizer[1] == 1

    @property
    def first_filter(self) -> np.ndarray:
        """The bits of the first filter, in C order."""
        assert self.code is not None
        axes = [axis + self.code.ndim for axis in self.filter_axes]
        return self.code[
            tuple(0 if axis in axes else slice(None) for axis in range(self.code.ndim))
        ]

    @property
    def packed(self) -> bytes:
        """The code at 1 bit a weight, in C order; nothing for weights without one."""
        return b"" if self.code is None else np.packbits(self.code).tobytes()


@dataclass(frozen=True)
class Described:
    """A layer as a file of binary weights tells it.

    # Attributes
        layer: Its name.
        kind: Its class.
        settings: What it computes with beside its weights, as JSON has it.
        calls: What it is called with, as `siman_larq.bits.wiring` has it; `None` where that is not
            known.
    """

    layer: str
    kind: str
    settings: dict[str, Any]
    calls: list[Any] | None = None


def layer_entries_of(layers: Iterable[Described]) -> list[dict[str, Any]]:
    """Entries for layers."""
    return [
        dict(zip(_DESCRIBED, (part.layer, part.kind, part.settings), strict=True))
        | ({} if part.calls is None else {"calls": part.calls})
        for part in layers
    ]


def described_in(header: dict[str, Any]) -> tuple[list[Described], list[str] | None]:
    """The layers that a header describes, and which tensors the model gives.

    # Raises
        ValueError: naming the number of the entry.
    """
    layers, outputs = header.get("layers", []), header.get("outputs")
    if not isinstance(layers, list):
        raise ValueError("its header lists no layers")
    if outputs is not None and not _is_list_of(outputs, str):
        raise ValueError("its header lists no outputs")
    found = []
    for number, entry in enumerate(layers):
        if (
            not isinstance(entry, dict)
            or any(type(entry.get(key)) is not kind for key, kind in _DESCRIBED.items())
            or ("calls" in entry and not _is_list_of(entry["calls"], dict))
        ):
            raise ValueError(f"the entry of layer number {number} is damaged")
        layer, kind, settings = (entry[key] for key in _DESCRIBED)
        found.append(Described(layer, kind, settings, entry.get("calls")))
    return found, outputs


def _is_list_of(given: Any, kind: type) -> bool:
    return isinstance(given, list) and all(isinstance(part, kind) for part in given)


def entries_of(weights: Iterable[Stored]) -> tuple[list[dict[str, Any]], dict[str, np.ndarray]]:
    """Entries for weights, and the arrays that they point into."""
    entries = []
    parts: dict[str, list[np.ndarray]] = {"bits": [], "float32": []}

    def add(array: str, values: np.ndarray) -> dict[str, Any]:
        chunks = parts.setdefault(array, [])
        start = sum(map(len, chunks))
        chunks.append(values.ravel())
        return {"array": array, "start": start}

    for weight in weights:
        entry: dict[str, Any] = {
            "layer": weight.layer,
            "class": weight.kind,
            "name": weight.name,
            "shape": list(weight.shape),
            "dtype": weight.dtype,
        }
        if weight.quantizer is not None:
            entry["quantizer"], entry["precision"] = weight.quantizer
        if weight.code is None or weight.levels is None:
            name = "float32" if weight.dtype in _HALVES else weight.dtype
            entry |= add(name, weight.values.astype(name))
        else:
            entry |= add("bits", np.packbits(weight.code))
            shared = weight.levels.ndim == 1
            entry["levels"] = weight.levels.tolist() if shared else add("float32", weight.levels)
            entry["filter_axes"] = list(weight.filter_axes)
        entries.append(entry)
    arrays: dict[str, np.ndarray] = {"bits": np.zeros(0, np.uint8)}
    arrays["float32"] = np.zeros(0, np.float32)
    for name, chunks in parts.items():
        if chunks:
            arrays[name] = np.concatenate(chunks)
    return entries, arrays


def stored_in(entries: Any, arrays: dict[str, np.ndarray]) -> list[Stored]:
    """The weights that entries describe, once every word of them is checked.

    # Raises
        ValueError: naming the layer where it can.
    """
    if not isinstance(entries, list):
        raise ValueError("its header lists no weights")
    taken = _Taken(arrays)
    found = []
    for number, entry in enumerate(entries):
        try:
            found.append(_stored(entry, taken))
        except (KeyError, TypeError, ValueError) as error:
            layer = entry.get("layer") if isinstance(entry, dict) else None
            what = f"of layer {layer[:80]!r}" if isinstance(layer, str) else f"number {number}"
            raise ValueError(f"the entry {what} is damaged: {error}") from error
    taken.check_all()
    return found


class _Taken:
    """Arrays of which every element belongs to one weight, in order."""

    def __init__(self, arrays: dict[str, np.ndarray]) -> None:
        self._arrays = arrays
        self._ends = dict.fromkeys(arrays, 0)

    def take(self, entry: Any, count: int) -> np.ndarray:
        name, start = entry["array"], entry["start"]
        if name not in self._ends or type(start) is not int or start != self._ends[name]:
            raise ValueError("it does not begin where the weights before it end")
        self._ends[name] = start + count
        if self._ends[name] > len(self._arrays[name]):
            raise ValueError(f"it ends behind the {len(self._arrays[name])} elements of {name}")
        return self._arrays[name][start : start + count]

    def check_all(self) -> None:
        for name, end in self._ends.items():
            if end != len(self._arrays[name]):
                raise ValueError(
                    f"{len(self._arrays[name]) - end} elements of {name} are no weight's"
                )


def _stored(entry: Any, taken: _Taken) -> Stored:
    texts = {key: entry[key] for key in ("layer", "class", "name", "dtype")}
    if not all(isinstance(text, str) for text in texts.values()):
        raise ValueError("a name is no text")
    shape, dtype = _integers(entry["shape"], 0, 2**40), texts["dtype"]
    if dtype not in STORABLE:
        raise ValueError(f"its dtype is {dtype[:40]!r}")
    quantizer = None
    if "quantizer" in entry:
        [precision] = _integers([entry["precision"]], 0, 64)
        quantizer = (str(entry["quantizer"]), precision)
    shared = (texts["layer"], texts["class"], texts["name"], dtype)
    if entry["array"] != "bits":
        if entry["array"] != ("float32" if dtype in _HALVES else dtype):
            raise ValueError("its array is not that of its dtype")
        values = taken.take(entry, math.prod(shape)).reshape(shape)
        return Stored(*shared, values, quantizer)
    if "float" not in dtype:
        raise ValueError(f"it has bits and is of dtype {dtype}")
    bits = taken.take(entry, math.ceil(math.prod(shape) / 8))
    code = np.unpackbits(bits, count=math.prod(shape)).reshape(shape).astype(bool)
    axes = _axes(entry["filter_axes"], len(shape))
    levels = _levels(entry["levels"], shape, axes, taken)
    values = np.where(code, levels[1], levels[0])
    return Stored(*shared, values, quantizer, axes, code, levels)


def _levels(entry: Any, shape: tuple[int, ...], axes: tuple[int, ...], taken: _Taken) -> np.ndarray:
    if isinstance(entry, dict):
        sizes = [size if axis - len(shape) in axes else 1 for axis, size in enumerate(shape)]
        levels = taken.take(entry, 2 * math.prod(sizes)).reshape(2, *sizes)
    else:
        if type(entry) is not list or [type(level) for level in entry] != [float, float]:
            raise ValueError("its levels are no two numbers")
        with np.errstate(over="ignore"):
            levels = np.array(entry, np.float32)
    if not np.isfinite(levels).all():
        raise ValueError("its levels are not finite")
    return levels


def _axes(given: Any, rank: int) -> tuple[int, ...]:
    axes = _integers(given, -rank, -1)
    if not axes or list(axes) != sorted(set(axes)):
        raise ValueError("its filter_axes are no axes of it")
    return axes


def _integers(given: Any, least: int, most: int) -> tuple[int, ...]:
    if not isinstance(given, list) or not all(
        type(number) is int and least <= number <= most for number in given
    ):
        raise ValueError(f"{given!r:.60} are no whole numbers from {least} to {most}")
    return tuple(given)
