"""An interpreter with the face of Larq Compute Engine's."""

import contextlib
import os
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Union

import numpy as np

from siman_runtime import library
from siman_runtime.checks import check_file
from siman_runtime.errors import ModelError

__all__ = ["Interpreter"]

Data = Union[np.ndarray, "list[np.ndarray]"]
Batch = tuple["list[np.ndarray]", int]  # for each input, and how many samples count


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
        batches = self._batches(x)
        if verbose:
            batches = _progress(batches, _length(x))
        results = [self._step(*batch) for batch in batches]
        if not results:
            raise ValueError("predict: there are no samples.")
        outputs = [np.concatenate(parts) for parts in zip(*results, strict=True)]
        return outputs[0] if len(self._outputs) == 1 else outputs

    def _batches(self, x: "Data | Iterator[Data]") -> "Iterator[Batch]":
        size = self._taken[0][1][0]
        if isinstance(x, (np.ndarray, list)):
            groups = self._slices(x, size)
        elif hasattr(x, "__next__"):
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

    def _slices(self, x: Data, size: int) -> Iterator[list[np.ndarray]]:
        inputs = self._checked([x] if isinstance(x, np.ndarray) else x)
        lengths = {len(value) for value in inputs}
        if len(lengths) > 1:
            raise ValueError(f"predict: inputs of {sorted(lengths)} samples; give equally many.")
        for start in range(0, len(inputs[0]), size):
            yield [value[start : start + size] for value in inputs]

    def _stacks(self, samples: "Iterator[Data]", size: int) -> Iterator[list[np.ndarray]]:
        waiting: list = []
        for sample in samples:
            values = [sample] if isinstance(sample, np.ndarray) else sample
            waiting.append(self._checked([np.asarray(value)[np.newaxis] for value in values]))
            if len(waiting) == size:
                yield [np.concatenate(values) for values in zip(*waiting, strict=True)]
                waiting = []
        if waiting:
            yield [np.concatenate(values) for values in zip(*waiting, strict=True)]

    def _checked(self, inputs: Sequence) -> list[np.ndarray]:
        if len(inputs) != len(self._inputs):
            raise ValueError(f"predict: {len(inputs)} inputs; the model has {len(self._inputs)}.")
        values = []
        for value, (dtype, shape) in zip(inputs, self._taken, strict=True):
            value = np.asarray(value)
            if value.shape[1:] != shape[1:]:
                raise ValueError(
                    f"predict: a sample of shape {value.shape[1:]}; the model takes {shape[1:]}."
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


def _length(x: Any) -> "int | None":
    if isinstance(x, np.ndarray):
        return len(x)
    return len(x[0]) if isinstance(x, list) and x else None


def _progress(batches: "Iterator[Batch]", total: "int | None") -> "Iterator[Batch]":
    start = shown = time.monotonic()
    count = 0
    for batch in batches:
        yield batch
        count += batch[1]
        now = time.monotonic()
        if now - shown > 0.1 or count == total:
            shown = now
            part = "" if not total else f"{'#' * (20 * count // total):<20} {count}/{total}"
            rate = count / (now - start) if now > start else 0.0
            sys.stderr.write(f"\r{part or count} images, {rate:.1f} per second ")
            sys.stderr.flush()
    if count:
        sys.stderr.write("\n")
