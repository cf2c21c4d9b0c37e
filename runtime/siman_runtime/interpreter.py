"""An interpreter with the face of Larq Compute Engine's."""

import os
import warnings
from types import TracebackType
from typing import Any, TypeAlias

import numpy as np

from siman_runtime.checks import read_model
from siman_runtime.engine import Engine
from siman_runtime.inputs import Data, Inputs, quantization
from siman_runtime.isolated import IsolatedEngine, Limits
from siman_runtime.progress import length, progress
from siman_runtime.signature import SignatureRunner, key_of
from siman_runtime.traces import Traces

__all__ = ["Interpreter"]

Model: TypeAlias = "str | os.PathLike[str] | bytes | bytearray | memoryview"


class Interpreter:
    """Runs a TFLite file of Larq Compute Engine (LCE), or any other.

    !!! example
        ```python
        with Interpreter("model.tflite", num_threads=4) as interpreter:
            scores = interpreter.predict(images, verbose=1)
        ```

    # Arguments
        model: Path of the file, or its bytes.
        num_threads: Threads of all ops, 1 to 64; `None` for all cores up to 4.
        use_reference_bconv: LCE's choice of a kernel, as is `use_indirect_bgemm`; a warning tells
            that there is none here, since outputs are those of LCE's reference anyway.
        use_xnnpack: `False` computes float ops without LiteRT's XNNPACK, as LCE does by default.
        flatbuffer_model: LCE's name of `model`.
        trace: Whether `traced` tells the bits that went into ops.
        isolated: Runs the file in a process of its own, for files that may crash it, hang or fill
            the memory; that is a `ModelError` then. It is no sandbox: the process may do what this
            one may.
        time_limit: Seconds after which each step of an isolated file is ended, of one batch or of
            loading; 60 if `None`.
        memory_limit: MiB of memory that an isolated file may take; 2048 if `None`, or half of what
            the machine has.

    # Attributes
        input_types: NumPy types of the inputs.
        input_shapes: Their shapes, with the batch dimension.
        input_signatures: Their shapes with -1 for dimensions that may be of any size.
        input_scales: Their quantization scales, `None` for floats.
        input_zero_points: Their zero points, `None` for floats.
        output_types, output_shapes, output_scales, output_zero_points: The same of the outputs.
        litert: The `ai_edge_litert.interpreter.Interpreter` inside, unless it is isolated.

    # Raises
        FileNotFoundError: for a path without a file.
        ValueError: for a number of threads that is out of range, or a model of another type.
        ModelError: for a damaged file, or ops, options or types that are unknown.
        LibraryError: If the native library or ai-edge-litert is absent or unfit.
        OSError: If the process of an isolated file cannot be started.
    """

    def __init__(
        self,
        model: "Model | None" = None,
        num_threads: "int | None" = 1,
        use_reference_bconv: bool = False,
        use_indirect_bgemm: bool = False,
        use_xnnpack: bool = True,
        *,
        flatbuffer_model: "Model | None" = None,
        trace: bool = False,
        isolated: bool = False,
        time_limit: "float | None" = None,
        memory_limit: "float | None" = None,
    ) -> None:
        given = flatbuffer_model if model is None else model
        if given is None or (model is not None and flatbuffer_model is not None):
            raise ValueError("Interpreter: give either model or flatbuffer_model.")
        for name, value in (
            ("use_reference_bconv", use_reference_bconv),
            ("use_indirect_bgemm", use_indirect_bgemm),
        ):
            if value:
                warnings.warn(
                    f"{name}=True changes nothing: siman-runtime has kernels of its own, whose "
                    "outputs are those of LCE's reference.",
                    stacklevel=2,
                )
        if not isolated and (time_limit, memory_limit) != (None, None):
            raise ValueError("time_limit and memory_limit need isolated=True.")
        limits, threads = Limits.of(time_limit, memory_limit), _threads(num_threads)
        settings = (_content(given), threads, use_xnnpack, trace)
        self._engine = IsolatedEngine(limits, *settings) if isolated else Engine(*settings)
        self._traces = Traces() if trace else None

    def __enter__(self) -> "Interpreter":
        return self

    def __exit__(
        self,
        kind: "type[BaseException] | None",
        error: "BaseException | None",
        trace: "TracebackType | None",
    ) -> None:
        self.close()

    def close(self) -> None:
        """Gives back the memory; nothing can be computed afterwards."""
        self._engine.close()

    @property
    def _inputs(self) -> Inputs:
        return self._engine.details.inputs

    @property
    def input_types(self) -> "list[Any]":
        return self._inputs.types

    @property
    def input_shapes(self) -> "list[tuple[int, ...]]":
        return self._inputs.shapes

    @property
    def input_signatures(self) -> "list[tuple[int, ...]]":
        return self._inputs.signatures

    @property
    def input_scales(self) -> "list[Any]":
        return self._inputs.scales

    @property
    def input_zero_points(self) -> "list[Any]":
        return self._inputs.zero_points

    @property
    def output_types(self) -> "list[Any]":
        return [details["dtype"] for details in self._engine.details.outputs]

    @property
    def output_shapes(self) -> "list[tuple[int, ...]]":
        return self._engine.details.output_shapes

    @property
    def output_scales(self) -> "list[Any]":
        return [quantization(details, "scales") for details in self._engine.details.outputs]

    @property
    def output_zero_points(self) -> "list[Any]":
        return [quantization(details, "zero_points") for details in self._engine.details.outputs]

    @property
    def litert(self) -> Any:
        return self._engine.litert

    @property
    def traced(self) -> "dict[int, np.ndarray]":
        """The bits that went into each binary convolution in this thread's last `predict`.

        And by each LceDequantize into other ops. For the number of each LceBconv2d and
        LceDequantize among the file's operators an int32 array of the shape (samples, height,
        width, words), as many axes as its input has: channel c is bit c % 32 of word c // 32, and 1
        is -1.

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
        self._engine.resize(self._inputs.checked_shapes(shapes))

    def predict(self, x: Data, verbose: int = 0) -> "np.ndarray | Any":
        """Outputs for a batch of inputs, computed as many at a time as the inputs' shapes say.

        # Arguments
            x: An array whose first axis counts samples, or what NumPy makes one of, such as a
                tensor; a list or tuple of them for several inputs; or an iterator over samples (or
                lists of them) without that axis.
            verbose: 1 shows a progress bar.

        # Returns
            An array, or a list of them for several outputs.

        # Raises
            ValueError: for no samples; samples of another shape, number or type than the inputs;
                NaN or infinite values.
            ModelError: If an output's first axis does not count samples.
        """
        details = self._engine.details
        if not details.is_ready:
            raise ValueError(
                f"predict: the model takes inputs of any size, {self.input_signatures}: call "
                "resize with the shapes of yours first."
            )
        if not details.outputs:
            raise ValueError("predict: the model has no outputs.")
        batches = details.inputs.batches(x)
        if self._traces is not None:
            self._traces.forget()
        if verbose:
            batches = progress(batches, length(x))
        results = [self._step(*batch) for batch in batches]
        if not results:
            raise ValueError("predict: there are no samples.")
        outputs = [np.concatenate(parts) for parts in zip(*results, strict=True)]
        return outputs[0] if len(outputs) == 1 else outputs

    def _step(self, values: "list[np.ndarray]", count: int) -> "list[np.ndarray]":
        outputs, traced = self._engine.run(values)
        if self._traces is not None:
            self._traces.add(traced, count / len(values[0]))
        return [output[:count] for output in outputs]

    def get_signature_list(self) -> "dict[str, dict[str, list[str]]]":
        """For each signature of the file the names of its inputs and outputs."""
        return self._engine.details.signatures

    def get_signature_runner(self, signature_key: "str | None" = None) -> SignatureRunner:
        """A function of a signature's inputs by name, which gives its outputs by name.

        # Arguments
            signature_key: Which signature; may be `None` where the file has one alone.

        # Raises
            ValueError: If there is no such signature.
        """
        return SignatureRunner(self._engine, key_of(signature_key, self.get_signature_list()))


def _threads(number: "int | None") -> int:
    if number is None:
        has_affinity = hasattr(os, "sched_getaffinity")  # macOS has not
        cores = len(os.sched_getaffinity(0)) if has_affinity else os.cpu_count() or 1
        return min(4, cores)
    is_whole = isinstance(number, (int, np.integer)) and not isinstance(number, bool)
    if not is_whole or not 1 <= number <= 64:
        raise ValueError(
            f"num_threads={number!r}: 1 to 64 is allowed, or None for all cores up to 4."
        )
    return int(number)


def _content(model: Model) -> bytes:
    if isinstance(model, (bytes, bytearray, memoryview)):
        return bytes(model)
    return read_model(model)
