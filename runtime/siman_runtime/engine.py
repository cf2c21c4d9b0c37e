"""LiteRT with siman-runtime's delegate: what an `Interpreter` drives, one step at a time."""

import contextlib
import re
import threading
import traceback
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from siman_runtime import library
from siman_runtime.checks import check_file
from siman_runtime.errors import ModelError
from siman_runtime.inputs import Inputs

__all__ = ["Details", "Engine"]

Shapes = list["tuple[int, ...]"]
Values = list[np.ndarray]
Traced = list[tuple[int, np.ndarray]]  # (operator, bits) of what reads any


class Details(NamedTuple):
    """What the runtime says of a model, at the sizes that its inputs have."""

    inputs: Inputs
    outputs: "list[dict[str, Any]]"
    signatures: "dict[str, dict[str, list[str]]]"
    is_ready: bool
    """Whether the network runs at these sizes, which are 1 where a file allows any size."""

    @property
    def output_shapes(self) -> Shapes:
        return [tuple(int(n) for n in entry["shape"]) for entry in self.outputs]


class Engine:
    """A model in this process.

    # Arguments
        content: Bytes of the file.
        num_threads: Threads of all ops.
        use_xnnpack: Whether float ops may run in LiteRT's XNNPACK.
        trace: Whether `run` tells the bits that went into ops.
    """

    def __init__(self, content: bytes, num_threads: int, use_xnnpack: bool, trace: bool) -> None:
        check_file(content)
        delegate = library.delegate()
        from ai_edge_litert.interpreter import Interpreter, OpResolverType

        kinds = OpResolverType
        self._is_tracing = trace
        self._content = content  # the runtime reads it in place
        self._said = ""  # of errors, by now
        self._lock = threading.Lock()  # of what lies between setting inputs and getting outputs
        self._are_outputs_checked = False
        with self._as_model_errors():
            self._litert: Any = Interpreter(
                model_content=content,
                experimental_delegates=[delegate],
                num_threads=num_threads,
                experimental_op_resolver_type=(
                    kinds.AUTO if use_xnnpack else kinds.BUILTIN_WITHOUT_DEFAULT_DELEGATES
                ),
            )
            self.details = self._read(is_ready=False)
        self.details = self._read(self._allocate_if_sizes_are_known())

    def _allocate_if_sizes_are_known(self) -> bool:
        try:
            with self._as_model_errors():
                self._litert.allocate_tensors()
        except ModelError:
            if not any(-1 in signature[1:] for signature in self.details.inputs.signatures):
                raise
            return False
        return True

    def _read(self, is_ready: bool) -> Details:
        litert = self._litert
        inputs = Inputs(litert.get_input_details())
        return Details(inputs, litert.get_output_details(), litert.get_signature_list(), is_ready)

    @property
    def litert(self) -> Any:
        self._check_open()
        return self._litert

    def close(self) -> None:
        with self._lock:
            self._litert = None

    def _check_open(self) -> None:
        if self._litert is None:
            raise ValueError("The interpreter is closed.")

    @contextlib.contextmanager
    def _held(self) -> Iterator[None]:
        """No other thread comes between."""
        with self._lock:
            self._check_open()
            yield

    def resize(self, shapes: Shapes) -> None:
        """Sets the inputs' shapes; raises `ModelError` and keeps the old ones if they are unfit."""
        with self._held():
            try:
                self._reshape(shapes)
            except ModelError as error:
                self._go_back()
                told = ", ".join(map(str, shapes))
                raise ModelError(f"resize: the network cannot be run at {told}: {error}") from error
            self.details = self._read(is_ready=True)
            self._are_outputs_checked = False

    def _reshape(self, shapes: Shapes) -> None:
        with self._as_model_errors():
            for place, shape in zip(self.details.inputs.places, shapes, strict=True):
                self._litert.resize_tensor_input(place, list(shape))
            self._litert.allocate_tensors()

    def _go_back(self) -> None:
        """To the sizes that people know, where the network ran at them."""
        try:
            self._reshape(self.details.inputs.shapes)
        except ModelError:
            self.details = self.details._replace(is_ready=False)

    def run(self, values: Values) -> "tuple[Values, Traced]":
        """The outputs for as many samples as the inputs' shapes say, and what was traced."""
        size = len(values[0])
        with self._held():
            if [value.shape for value in values] != self.details.inputs.shapes:
                raise ValueError("predict: resize was called in its midst.")
            with self._traced() as traced:
                outputs = self._outputs(values)
            _check_shapes(outputs, [(size, *output.shape[1:]) for output in outputs])
            if size > 1 and not self._are_outputs_checked:
                self._check_outputs(values, [(size - 1, *output.shape[1:]) for output in outputs])
                self._are_outputs_checked = True
        return outputs, traced

    @contextlib.contextmanager
    def _traced(self) -> "Iterator[Traced]":
        found: Traced = []
        if not self._is_tracing:
            yield found
            return
        library.trace(True)
        try:
            yield found
            found += library.traced()
        finally:
            library.trace(False)

    def _outputs(self, values: Values) -> Values:
        with self._as_model_errors():
            for place, value in zip(self.details.inputs.places, values, strict=True):
                self._litert.set_tensor(place, value)
            self._litert.invoke()
            return [self._litert.get_tensor(entry["index"]) for entry in self.details.outputs]

    def _check_outputs(self, values: Values, shapes: Shapes) -> None:
        """That outputs are as long as there are samples by no chance: with one sample less they are
        of these shapes. Where samples run one by one, all that comes out belongs to that one."""
        fewer = [value[:-1] for value in values]
        try:
            self._reshape([value.shape for value in fewer])
            outputs = self._outputs(fewer)
        except ModelError as error:
            raise ModelError(
                f"predict: the network takes {len(values[0])} samples at a time, and not one less, "
                "so that it cannot be told whether its outputs count them: convert it for one "
                f"sample, or use ai_edge_litert with delegate(). ({error})"
            ) from error
        finally:
            self._go_back()
        _check_shapes(outputs, shapes)

    def signature(self, key: str) -> "tuple[dict[str, Any], dict[str, Any]]":
        """Details of the inputs and outputs of a signature, by their names."""
        with self._held():
            runner = self._litert.get_signature_runner(key)
            return runner.get_input_details(), runner.get_output_details()

    def run_signature(self, key: str, values: "dict[str, np.ndarray]") -> "dict[str, np.ndarray]":
        """Its outputs, at the sizes of these values; those of `run` stay as they were."""
        with self._held():
            try:
                with self._as_model_errors():
                    return dict(self._litert.get_signature_runner(key)(**values))
            finally:
                shapes = [tuple(entry["shape"]) for entry in self._litert.get_input_details()]
                if shapes != self.details.inputs.shapes:
                    self._go_back()

    @contextlib.contextmanager
    def _as_model_errors(self) -> Iterator[None]:
        """Turns what the runtime raises into a `ModelError` with the cause."""
        try:
            yield
        except (RuntimeError, ValueError) as error:
            # Its frames may hold what keeps the runtime from taking other sizes.
            traceback.clear_frames(error.__traceback__)
            # LiteRT repeats what it said before.
            text, self._said = str(error).removeprefix(self._said), str(error)
            raise ModelError(_sentence(text or self._said)) from error


def _check_shapes(outputs: Values, shapes: Shapes) -> None:
    for output, shape in zip(outputs, shapes, strict=True):
        if output.ndim == 0 or output.shape != shape:
            raise ModelError(
                f"predict: an output of shape {output.shape} for {shape[0]} samples: its first "
                "axis does not count samples. Use ai_edge_litert with delegate()."
            )


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
