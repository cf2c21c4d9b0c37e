"""An interpreter with the face of Larq Compute Engine's."""

import contextlib
import os
import re
import sys
import threading
import time
from collections.abc import Iterator
from typing import Any

import numpy as np

from siman_runtime import library
from siman_runtime.checks import check_file, read_model
from siman_runtime.errors import ModelError
from siman_runtime.inputs import Batch, Data, Inputs, quantization
from siman_runtime.traces import Traces

__all__ = ["Interpreter"]


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
        trace: Whether `traced` tells what went into the binary convolutions.

    # Attributes
        input_types: NumPy types of the inputs.
        input_shapes: Their shapes, with the batch dimension.
        input_signatures: Their shapes with -1 for dimensions that may be of any size.
        input_scales: Their quantization scales, `None` for floats.
        input_zero_points: Their zero points, `None` for floats.
        output_types, output_shapes, output_scales, output_zero_points: The same of the outputs.

    # Raises
        FileNotFoundError: for a path without a file.
        ValueError: for a number of threads that is out of range, or a model of another type.
        ModelError: for a damaged file, or ops, options or types that are unknown.
        LibraryError: If the native library or ai-edge-litert is absent or unfit.
    """

    def __init__(
        self, model: "str | os.PathLike | bytes", num_threads: int = 1, trace: bool = False
    ) -> None:
        _check_threads(num_threads)
        content = bytes(model) if isinstance(model, (bytes, bytearray)) else read_model(model)
        check_file(content)
        delegate = library.delegate()
        from ai_edge_litert.interpreter import Interpreter as LiteRt

        self._content = content  # the runtime reads it in place
        self._said = ""  # of errors, by now
        self._traces = Traces() if trace else None
        self._lock = threading.Lock()  # of what lies between setting inputs and getting outputs
        with self._as_model_errors():
            self._interpreter = LiteRt(
                model_content=content,
                experimental_delegates=[delegate],
                num_threads=int(num_threads),
            )
            self._read_details()
        self._is_ready = self._allocate_if_sizes_are_known()

    def _allocate_if_sizes_are_known(self) -> bool:
        """Whether the network runs at the file's sizes, which are 1 where any size is allowed."""
        try:
            with self._as_model_errors():
                self._allocate()
        except ModelError:
            if not any(-1 in signature[1:] for signature in self.input_signatures):
                raise
            return False
        return True

    def _allocate(self) -> None:
        self._interpreter.allocate_tensors()
        self._read_details()

    def _read_details(self) -> None:
        self._inputs = Inputs(self._interpreter.get_input_details())
        self._outputs = self._interpreter.get_output_details()

    @property
    def input_types(self) -> list:
        return self._inputs.types

    @property
    def input_shapes(self) -> "list[tuple[int, ...]]":
        return self._inputs.shapes

    @property
    def input_signatures(self) -> "list[tuple[int, ...]]":
        return self._inputs.signatures

    @property
    def input_scales(self) -> list:
        return self._inputs.scales

    @property
    def input_zero_points(self) -> list:
        return self._inputs.zero_points

    @property
    def output_types(self) -> list:
        return [details["dtype"] for details in self._outputs]

    @property
    def output_shapes(self) -> "list[tuple[int, ...]]":
        return [tuple(int(n) for n in details["shape"]) for details in self._outputs]

    @property
    def output_scales(self) -> list:
        return [quantization(details, "scales") for details in self._outputs]

    @property
    def output_zero_points(self) -> list:
        return [quantization(details, "zero_points") for details in self._outputs]

    @property
    def traced(self) -> "dict[int, np.ndarray]":
        """What went into each binary convolution in this thread's last `predict`.

        For the number of each LceBconv2d among the file's operators an int32 array of the shape
        (samples, height, width, words): channel c is bit c % 32 of word c // 32, and 1 is -1.

        # Raises
            ValueError: for an interpreter made without `trace=True`.
        """
        if self._traces is None:
            raise ValueError("traced: make the interpreter with trace=True.")
        return self._traces.of_last_run()

    def resize(self, *shapes: "tuple[int, ...]") -> None:
        """Sets the inputs' shapes, one for each input, batch dimension included.

        # Raises
            ValueError: for another number of shapes than inputs, or what is no shape of them.
            ModelError: If the network cannot be run at these sizes; it keeps its sizes then.
        """
        wanted, before = self._inputs.checked_shapes(shapes), self.input_shapes
        with self._lock:
            try:
                self._set_shapes(wanted)
            except ModelError as error:
                with contextlib.suppress(ModelError):
                    self._is_ready, was_ready = False, self._is_ready
                    self._set_shapes(before)
                    self._is_ready = was_ready
                told = ", ".join(map(str, wanted))
                raise ModelError(f"resize: the network cannot be run at {told}: {error}") from error
            self._is_ready = True

    def _set_shapes(self, shapes: "list[tuple[int, ...]]") -> None:
        with self._as_model_errors():
            for place, shape in zip(self._inputs.places, shapes, strict=True):
                self._interpreter.resize_tensor_input(place, list(shape))
            self._allocate()

    @contextlib.contextmanager
    def _as_model_errors(self) -> Iterator[None]:
        """Turns what the runtime raises into a `ModelError` with the cause."""
        try:
            yield
        except (RuntimeError, ValueError) as error:
            # LiteRT repeats what it said before.
            text, self._said = str(error).removeprefix(self._said), str(error)
            raise ModelError(_sentence(text)) from error

    def predict(self, x: "Data | Iterator[Data]", verbose: int = 0) -> Data:
        """Outputs for a batch of inputs, computed as many at a time as the inputs' shapes say.

        # Arguments
            x: An array whose first axis counts samples; a list of them for several inputs; or an
                iterator over samples (or lists of them) without that axis.
            verbose: 1 shows a progress bar.

        # Returns
            An array, or a list of them for several outputs.

        # Raises
            ValueError: for no samples; samples of another shape, number or type than the inputs;
                NaN or infinite values.
        """
        if not self._is_ready:
            raise ValueError(
                f"predict: the model takes inputs of any size, {self.input_signatures}: call "
                "resize with the shapes of yours first."
            )
        if not self._outputs:
            raise ValueError("predict: the model has no outputs.")
        batches = self._inputs.batches(x)
        if self._traces is not None:
            self._traces.forget()
        if verbose:
            batches = _progress(batches, _length(x))
        results = [self._step(*batch) for batch in batches]
        if not results:
            raise ValueError("predict: there are no samples.")
        outputs = [np.concatenate(parts) for parts in zip(*results, strict=True)]
        return outputs[0] if len(self._outputs) == 1 else outputs

    def _step(self, batch: list[np.ndarray], count: int) -> list[np.ndarray]:
        with self._lock:
            if [value.shape for value in batch] != self.input_shapes:
                raise ValueError("predict: resize was called in its midst.")
            with self._as_model_errors():
                for place, value in zip(self._inputs.places, batch, strict=True):
                    self._interpreter.set_tensor(place, value)
                share = count / len(batch[0])
                with self._traces.step(share) if self._traces else contextlib.nullcontext():
                    self._interpreter.invoke()
            outputs = [self._interpreter.get_tensor(details["index"]) for details in self._outputs]
        size = len(batch[0])
        for output in outputs:
            if output.shape[:1] != (size,):
                raise ModelError(
                    f"predict: an output of shape {output.shape} for {size} samples: its first "
                    "axis does not count samples. Use ai_edge_litert with delegate()."
                )
        return [output[:count] for output in outputs]


def _sentence(text: str) -> str:
    """The cause in what the runtime says, which has its own words around it."""
    ours = re.search(r"siman-runtime: (.*)", text)
    if ours:
        return ours.group(1)
    unknown = re.search(r"(?s)unresolved custom op: (\w+)|Select TensorFlow op.*\((\w+)\)", text)
    name = unknown and (unknown.group(1) or unknown.group(2))
    # So it says where TensorFlow is in the same process.
    if "TfLiteFlexDelegate" in text:
        name = "of TensorFlow (Flex)"
    if name:
        return (
            f"The model has the op {name}, which neither LiteRT nor siman-runtime knows: convert "
            "it again, without what the op was made from."
        )
    return " ".join(text.split())


def _check_threads(number: Any) -> None:
    is_whole = isinstance(number, (int, np.integer)) and not isinstance(number, bool)
    if not is_whole or not 1 <= number <= 64:
        raise ValueError(f"num_threads={number!r}: 1 to 64 is allowed.")


def _length(x: Any) -> "int | None":
    first = x[0] if isinstance(x, list) and x else x
    return len(first) if isinstance(first, np.ndarray) and first.ndim else None


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
