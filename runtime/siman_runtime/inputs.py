"""What a model takes, and how samples become its inputs, or one sentence why they do not."""

import operator
from collections.abc import Iterator, Sequence
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import ArrayLike

__all__ = ["Data", "Inputs", "as_array", "is_array", "quantization"]

Data: TypeAlias = ArrayLike | Iterator[ArrayLike]
Batch = tuple["list[np.ndarray]", int]  # for each input, and how many samples count


class Inputs:
    """The inputs of a model, from the details that the runtime gives of them.

    # Arguments
        details: The details of each.
        caller: What errors begin with.
    """

    def __init__(self, details: "list[dict[str, Any]]", caller: str = "predict") -> None:
        self._caller = caller
        self.places = [entry["index"] for entry in details]
        self.types = [entry["dtype"] for entry in details]
        self.shapes = [_sizes(entry["shape"]) for entry in details]
        signatures = [_sizes(entry.get("shape_signature", ())) for entry in details]
        self.signatures = [
            signature or shape for signature, shape in zip(signatures, self.shapes, strict=True)
        ]
        self.scales = [quantization(entry, "scales") for entry in details]
        self.zero_points = [quantization(entry, "zero_points") for entry in details]

    def checked_shapes(self, shapes: "Sequence[Any]") -> "list[tuple[int, ...]]":
        """New shapes for the inputs; raises `ValueError` for what is none."""
        if len(shapes) != len(self.shapes):
            raise ValueError(f"resize: {len(shapes)} shapes for {len(self.shapes)} inputs.")
        return [_checked_shape(*pair) for pair in zip(shapes, self.shapes, strict=True)]

    def batches(self, x: Data) -> "Iterator[Batch]":
        """The samples, as many at a time as the shapes say."""
        size = self._batch_size()
        if isinstance(x, (list, tuple)):
            groups = self._slices(x, size)
        elif is_array(x):
            groups = self._slices([x], size)
        elif isinstance(x, Iterator):
            groups = self._stacks(x, size)
        else:
            raise ValueError(
                f"predict: {type(x).__name__} is no array, no list of arrays and no iterator over "
                "samples."
            )
        for values in groups:
            count = len(values[0])
            if count < size:  # filled up with its last sample
                values = [
                    np.concatenate([v, np.repeat(v[-1:], size - count, axis=0)]) for v in values
                ]
            yield values, count

    def _batch_size(self) -> int:
        if not self.shapes or not all(self.shapes):
            told = f"inputs of shapes {self.shapes}" if self.shapes else "no inputs"
            raise ValueError(
                f"predict: the model has {told}, which do not all count samples by their first "
                "axis: use ai_edge_litert with delegate()."
            )
        sizes = {shape[0] for shape in self.shapes}
        if len(sizes) > 1 or 0 in sizes:
            raise ValueError(
                f"predict: the model's inputs {self.shapes} do not take equally many samples at a "
                "time, at least 1: call resize with equal first axes, or use ai_edge_litert with "
                "delegate()."
            )
        return self.shapes[0][0]

    def _slices(self, x: "Sequence[Any]", size: int) -> Iterator[list[np.ndarray]]:
        inputs = self._checked(x)
        lengths = {len(value) for value in inputs}
        if len(lengths) > 1:
            raise ValueError(f"predict: inputs of {sorted(lengths)} samples; give equally many.")
        for start in range(0, len(inputs[0]), size):
            yield [value[start : start + size] for value in inputs]

    def _stacks(self, samples: "Iterator[Any]", size: int) -> Iterator[list[np.ndarray]]:
        waiting: list[list[np.ndarray]] = []
        for sample in samples:
            values = sample if isinstance(sample, (list, tuple)) else [sample]
            arrays = [as_array(value, self._caller)[np.newaxis] for value in values]
            waiting.append(self._checked(arrays))
            if len(waiting) == size:
                yield [np.concatenate(values) for values in zip(*waiting, strict=True)]
                waiting = []
        if waiting:
            yield [np.concatenate(values) for values in zip(*waiting, strict=True)]

    def _checked(self, inputs: "Sequence[Any]") -> list[np.ndarray]:
        if len(inputs) != len(self.shapes):
            raise ValueError(
                f"predict: {len(inputs)} inputs; the model has {len(self.shapes)}. A list holds an "
                "array for each input; samples are the first axis of an array, as by np.stack."
            )
        return [self._checked_input(index, value) for index, value in enumerate(inputs)]

    def _checked_input(self, index: int, given: Any) -> np.ndarray:
        value = as_array(given, self._caller)
        if value.ndim == 0 or value.shape[1:] != self.shapes[index][1:]:
            raise ValueError(self._why_unfit(index, value.shape))
        return self.checked_values(index, value)

    def checked_values(self, index: int, given: Any) -> np.ndarray:
        """An input's values in the type that it has; raises `ValueError` if they would change."""
        value = as_array(given, self._caller)
        dtype = np.dtype(self.types[index])
        if not _keeps_meaning(value.dtype, dtype):
            raise ValueError(
                f"{self._caller}: samples of type {value.dtype}; the model takes {dtype}: "
                f"{self._cure_of_type(index)}."
            )
        with np.errstate(over="ignore"):
            value = value.astype(dtype, copy=False)
        if not _is_finite(value):
            raise ValueError(f"{self._caller}: input {index} holds NaN or infinite values.")
        return value

    def _why_unfit(self, index: int, given: "tuple[int, ...]") -> str:
        shape, signature = self.shapes[index], self.signatures[index]
        told = f"predict: a sample of shape {given[1:]}; the model takes {shape[1:]}"
        if given == shape[1:]:
            return f"{told}: the first axis counts samples, as in x[np.newaxis]."
        if len(given) == len(shape) and all(
            wanted in (-1, n) for n, wanted in zip(given[1:], signature[1:], strict=True)
        ):
            example = (shape[0], *given[1:])
            return f"{told} until it is told another size: call resize({example}) first."
        return f"{told}."

    def _cure_of_type(self, index: int) -> str:
        dtype, scale = np.dtype(self.types[index]), self.scales[index]
        if dtype.kind == "f":
            return "scale pixels as in training, such as (x / 255 - mean) / std, in float32"
        if scale is not None:
            step = f"{scale:.6g}" if isinstance(scale, float) else scale
            return f"quantize real values, as round(x / {step}) + {self.zero_points[index]}"
        return f"if that is what your values are, give x.astype('{dtype}')"


def quantization(details: "dict[str, Any]", key: str) -> Any:
    """The scale or zero point of a tensor, a list if there are several, `None` if there is none."""
    values = details["quantization_parameters"][key].tolist()
    if not values:
        return None
    return values[0] if len(values) == 1 else values


def _sizes(shape: Any) -> "tuple[int, ...]":
    return tuple(int(size) for size in shape)


def _checked_shape(shape: Any, before: "tuple[int, ...]") -> "tuple[int, ...]":
    try:
        # bool is an int to Python.
        sizes = [-1 if isinstance(size, bool) else operator.index(size) for size in shape]
    except TypeError:
        sizes = []
    if len(sizes) != len(before) or not all(0 < size < 2**31 for size in sizes):
        raise ValueError(
            f"resize: {shape!r} is no shape of {len(before)} whole numbers above 0, as {before} is."
        )
    return tuple(sizes)


def is_array(value: Any) -> bool:
    """Whether NumPy takes it for an array, as tensors of most libraries are one to it."""
    return isinstance(value, memoryview) or any(
        hasattr(value, name) for name in ("__array__", "__array_interface__")
    )


def as_array(value: Any, caller: str) -> np.ndarray:
    """An array of what is one to NumPy; raises `ValueError`, which begins with the caller."""
    if isinstance(value, np.ma.MaskedArray):
        raise ValueError(f"{caller}: a masked array; give x.filled(value): the mask would be lost.")
    try:
        return np.asarray(value)
    except (ValueError, TypeError, RuntimeError) as error:  # as their libraries raise
        raise ValueError(f"{caller}: a sample cannot be made an array: {error}") from None


def _keeps_meaning(given: np.dtype, taken: np.dtype) -> bool:
    """Whether values of one type may be cast to another: integers lack the scale of real values."""
    if given.kind in "iu" and taken.kind in "iu":
        return bool(np.can_cast(given, taken, "safe"))
    return given == taken or given.kind == taken.kind == "f"


def _is_finite(value: np.ndarray) -> bool:
    if value.dtype.kind != "f":
        return True
    with np.errstate(over="ignore", invalid="ignore"):
        # A sum is several times as fast, and finite unless there is reason to look again; einsum's,
        # which is not pairwise, twice as fast as np.sum.
        return bool(np.isfinite(np.einsum("i->", value.ravel()))) or bool(np.isfinite(value).all())
