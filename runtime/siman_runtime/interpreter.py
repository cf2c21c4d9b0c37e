"""An interpreter with the face of Larq Compute Engine's."""

import contextlib
import os
import sys
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Union

import numpy as np

from siman_runtime import library
from siman_runtime.checks import check_file
from siman_runtime.errors import ModelError

__all__ = ["Interpreter"]

Data = Union[np.ndarray, "list[np.ndarray]"]


class Interpreter:
    """Runs a TFLite file of Larq Compute Engine (LCE), or any other.

    !!! example
        ```python
        interpreter = Interpreter("model.tflite", num_threads=4)
        scores = interpreter.predict(images, verbose=1)
        ```

    # Arguments
        model: Path of the file, or its bytes.
        num_threads: Threads of all ops, 1 to 64.

    # Attributes
        input_types: NumPy types of the inputs.
        input_shapes: Their shapes, with the batch dimension.
        input_scales: Their quantization scales, `None` for floats.
        input_zero_points: Their zero points, `None` for floats.
        output_types, output_shapes, output_scales, output_zero_points: The same of the outputs.

    # Raises
        FileNotFoundError: for a path without a file.
        ValueError: for a number of threads that is out of range.
        ModelError: for a damaged file, or ops, options or types that are unknown.
        LibraryError: If the native library or ai-edge-litert is absent or unfit.
    """

    def __init__(self, model: "str | os.PathLike | bytes", num_threads: int = 1) -> None:
        if not 1 <= num_threads <= 64:
            raise ValueError(f"num_threads={num_threads}: 1 to 64 is allowed.")
        content = bytes(model) if isinstance(model, (bytes, bytearray)) else _read(model)
        check_file(content)
        delegate = library.delegate()
        from ai_edge_litert.interpreter import Interpreter as LiteRt

        self._content = content  # the runtime reads it in place
        with _as_model_errors():
            self._interpreter = LiteRt(
                model_content=content, experimental_delegates=[delegate], num_threads=num_threads
            )
            self._allocate()

    def _allocate(self) -> None:
        self._interpreter.allocate_tensors()
        self._inputs = self._interpreter.get_input_details()
        self._outputs = self._interpreter.get_output_details()
        self._taken = list(zip(self.input_types, self.input_shapes, strict=True))

    @property
    def input_types(self) -> list:
        return [details["dtype"] for details in self._inputs]

    @property
    def input_shapes(self) -> "list[tuple[int, ...]]":
        return [tuple(int(n) for n in details["shape"]) for details in self._inputs]

    @property
    def input_scales(self) -> list:
        return [_quantization(details, "scales") for details in self._inputs]

    @property
    def input_zero_points(self) -> list:
        return [_quantization(details, "zero_points") for details in self._inputs]

    @property
    def output_types(self) -> list:
        return [details["dtype"] for details in self._outputs]

    @property
    def output_shapes(self) -> "list[tuple[int, ...]]":
        return [tuple(int(n) for n in details["shape"]) for details in self._outputs]

    @property
    def output_scales(self) -> list:
        return [_quantization(details, "scales") for details in self._outputs]

    @property
    def output_zero_points(self) -> list:
        return [_quantization(details, "zero_points") for details in self._outputs]

    def resize(self, *shapes: "tuple[int, ...]") -> None:
        """Sets the inputs' shapes, one for each input, batch dimension included.

        # Raises
            ValueError: for another number of shapes than inputs.
            ModelError: If the network cannot be run at these sizes.
        """
        if len(shapes) != len(self._inputs):
            raise ValueError(f"resize: {len(shapes)} shapes for {len(self._inputs)} inputs.")
        with _as_model_errors():
            for details, shape in zip(self._inputs, shapes, strict=True):
                self._interpreter.resize_tensor_input(details["index"], list(shape))
            self._allocate()

    def predict(self, x: "Data | Iterator[Data]", verbose: int = 0) -> Data:
        """Outputs for a batch of inputs, computed as many at a time as the inputs' shapes say.

        # Arguments
            x: An array whose first axis counts samples; a list of them for several inputs; or an
                iterator over samples (or lists of them) without that axis.
            verbose: 1 shows a progress bar.

        # Returns
            An array, or a list of them for several outputs.

        # Raises
            ValueError: for no samples, or samples of another shape or number than the inputs.
        """
        samples = _progress(_samples(x), _length(x)) if verbose else _samples(x)
        results = [self._step(*batch) for batch in self._batches(samples)]
        if not results:
            raise ValueError("predict: there are no samples.")
        outputs = [np.concatenate(parts) for parts in zip(*results, strict=True)]
        return outputs[0] if len(self._outputs) == 1 else outputs

    def _batches(self, samples: Iterable[list[np.ndarray]]) -> Iterator[tuple[list, int]]:
        size = self._taken[0][1][0]
        waiting: list = []
        for sample in samples:
            waiting.append(self._checked(sample))
            if len(waiting) == size:
                yield [_stacked(values) for values in zip(*waiting, strict=True)], size
                waiting = []
        if waiting:  # the last batch is filled up with its last sample
            missing = size - len(waiting)
            rest = [
                _stacked(values + (values[-1],) * missing) for values in zip(*waiting, strict=True)
            ]
            yield rest, len(waiting)

    def _checked(self, sample: "list[np.ndarray]") -> "list[np.ndarray]":
        if len(sample) != len(self._inputs):
            raise ValueError(f"predict: {len(sample)} inputs; the model has {len(self._inputs)}.")
        values = []
        for value, (dtype, shape) in zip(sample, self._taken, strict=True):
            value = np.asarray(value)
            if value.shape != shape[1:]:
                raise ValueError(
                    f"predict: a sample of shape {value.shape}; the model takes {shape[1:]}."
                )
            if not np.can_cast(value.dtype, dtype, "same_kind"):
                raise ValueError(
                    f"predict: samples of type {value.dtype}; the model takes {np.dtype(dtype)}."
                )
            values.append(value.astype(dtype, copy=False))
        return values

    def _step(self, batch: list[np.ndarray], count: int) -> list[np.ndarray]:
        for details, value in zip(self._inputs, batch, strict=True):
            self._interpreter.set_tensor(details["index"], value)
        with _as_model_errors():
            self._interpreter.invoke()
        outputs = [self._interpreter.get_tensor(details["index"]) for details in self._outputs]
        return [output[:count] for output in outputs]


def _stacked(values: "tuple[np.ndarray, ...]") -> np.ndarray:
    return values[0][np.newaxis] if len(values) == 1 else np.stack(values)  # one needs no copy


@contextlib.contextmanager
def _as_model_errors() -> Iterator[None]:
    """Turns what the runtime raises into a `ModelError` with the cause."""
    try:
        yield
    except (RuntimeError, ValueError) as error:
        ours = [line for line in str(error).splitlines() if "siman-runtime: " in line]
        text = ours[0][ours[0].index("siman-runtime: ") + 15 :] if ours else str(error)
        raise ModelError(text) from error


def _read(path: "str | os.PathLike") -> bytes:
    if not Path(path).is_file():
        raise FileNotFoundError(f"There is no model at {path}.")
    return Path(path).read_bytes()


def _quantization(details: dict, key: str) -> "float | list | None":
    values = details["quantization_parameters"][key].tolist()
    if not values:
        return None
    return values[0] if len(values) == 1 else values


def _samples(x: Any) -> "Iterator[list[np.ndarray]]":
    if isinstance(x, np.ndarray):
        return ([sample] for sample in x)
    if isinstance(x, list):
        return (list(samples) for samples in zip(*x, strict=True))
    if hasattr(x, "__next__"):
        return ([s] if isinstance(s, np.ndarray) else list(s) for s in x)
    raise ValueError(
        f"predict: {type(x).__name__} is no array, no list of arrays and no iterator over samples."
    )


def _length(x: Any) -> "int | None":
    if isinstance(x, np.ndarray):
        return len(x)
    return len(x[0]) if isinstance(x, list) and x else None


def _progress(samples: Iterable, total: "int | None") -> Iterator:
    start = shown = time.monotonic()
    count = 0
    for count, sample in enumerate(samples, 1):
        yield sample
        now = time.monotonic()
        if now - shown > 0.1 or count == total:
            shown = now
            part = "" if not total else f"{'#' * (20 * count // total):<20} {count}/{total}"
            rate = count / (now - start) if now > start else 0.0
            sys.stderr.write(f"\r{part or count} images, {rate:.1f} per second ")
            sys.stderr.flush()
    if count:
        sys.stderr.write("\n")
