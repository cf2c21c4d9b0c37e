"""The graph of a model, for inference, with constants in place of variables."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import tensorflow as tf

from siman_larq._private import forget_gradients, with_constants
from siman_larq.conversion.errors import ConversionError
from siman_larq.conversion.jumps import COMPARISONS, JUMPS, QUANTIZATION
from siman_larq.conversion.misread import readable, source, whole_sums
from siman_larq.conversion.signature import Inputs

__all__ = ["Graph", "frozen", "plain_session"]

# Relative to the root mean square of what a sign, comparison or rounding is taken of.
_MARGIN = 2e-5


@dataclass(frozen=True)
class Graph:
    """A model as a frozen graph.

    # Attributes
        function: The graph as a concrete function, of the model's inputs in flat order.
        names: Names of the inputs in the graph.
    """

    function: Any
    names: list[str]

    @cached_property
    def definition(self) -> tf.compat.v1.GraphDef:
        """The graph as a protocol buffer, as LCE takes it rightly."""
        return readable(self.function.graph)

    @property
    def is_quantized(self) -> bool:
        """Whether LCE makes a file of integers of it, as its own functions from Keras do."""
        return any(QUANTIZATION.match(node.op) for node in self.definition.node)

    @property
    def outputs(self) -> list[str]:
        """Names of the outputs in the graph."""
        return [tensor.name.split(":")[0] for tensor in self.function.outputs]

    def run(self, inputs: list[np.ndarray]) -> tuple[list[np.ndarray], bool]:
        """Outputs for a batch, and whether rounding can have no say in them.

        It can have where the argument of a sign, a comparison or a rounding lies near a jump.
        """
        graph = self.function.graph
        jumps = [op for op in graph.get_operations() if op.type in JUMPS]
        jumps = [op for op in jumps if op.inputs[0].dtype.is_floating]
        fetched = [list(self.function.outputs), [_arguments(op) for op in jumps]]
        feeds = {f"{name}:0": value for name, value in zip(self.names, inputs, strict=True)}
        outputs, arguments = self._session.run(fetched, feeds)
        whole = self._whole_sums
        safe = [
            _is_safe(op.type, values, op.name in whole)
            for op, values in zip(jumps, arguments, strict=True)
        ]
        return outputs, all(safe)

    def run_part(self, given: str, value: np.ndarray, wanted: str) -> np.ndarray:
        """What a tensor is where another one has a value, given in whatever shape."""
        shape = self.function.graph.get_tensor_by_name(given).shape
        if not shape.is_compatible_with(value.shape):
            # What the graph does not know, as behind a dense layer on maps, is as in the value.
            axes = range(1 - shape.rank, 0)
            sizes = [n or value.shape[axis] for axis, n in zip(axes, shape[1:], strict=True)]
            value = value.reshape(-1, *sizes)
        return self._session.run(wanted, {given: value})

    @cached_property
    def _whole_sums(self) -> set[str]:
        return whole_sums(self.function.graph)

    @cached_property
    def _session(self) -> tf.compat.v1.Session:
        # As functions, every set of tensors to look at would be a copy of the graph.
        return plain_session(self.function.graph)


def _arguments(operation: tf.Operation) -> list[tf.Tensor]:
    tensors = list(operation.inputs)
    if operation.type == "Sign":
        # Of what a ReLU made 0 only its own argument tells how far it is from being more.
        while source(tensors[0]).op.type == "Relu":
            tensors = list(source(tensors[0]).op.inputs)
    return tensors


def _is_safe(kind: str, values: list[np.ndarray], is_whole: bool) -> bool:
    """Whether arguments of an operation lie so far from its jumps that rounding changes nothing."""
    value = values[0] - values[1] if kind in COMPARISONS else values[0]
    if (value == np.round(value)).all():
        return True  # Sums of -1 and +1 are exact.
    if kind in ("Round", "Rint"):
        distance = np.abs(value - np.floor(value) - 0.5)
    elif kind in ("Floor", "Ceil"):
        distance = np.abs(value - np.round(value))
    else:
        distance = np.where((value == 0) & is_whole, np.inf, np.abs(value))
    scale = np.sqrt(np.mean(np.square(value, dtype=np.float64))) if value.size else 0.0
    return bool((distance > _MARGIN * scale).all())


def plain_session(graph: tf.Graph) -> tf.compat.v1.Session:
    """Runs a graph as it is written."""
    config = tf.compat.v1.ConfigProto()
    # TensorFlow would take scales into kernels, after which sums of 0 are no longer exact.
    config.graph_options.rewrite_options.disable_meta_optimizer = True
    return tf.compat.v1.Session(graph=graph, config=config)


def frozen(model: tf.keras.Model, inputs: Inputs) -> Graph:
    """Traces a model, for inference, in the form that its patches give it.

    # Raises
        ConversionError: for variables of another dtype than float32, naming one, and when the
            model cannot be traced.
    """
    specs = [
        tf.TensorSpec(spec.shape, spec.dtype, name=f"siman_input_{number}")
        for number, spec in enumerate(inputs.specs)
    ]

    def call(*flat: tf.Tensor) -> list[tf.Tensor]:
        outputs = tf.nest.flatten(inputs.call(model, list(flat)))
        # Each a tensor of its own, also where two are the same, or one is an input.
        return [tf.identity(output, f"siman_output_{n}") for n, output in enumerate(outputs)]

    try:
        traced = tf.function(call).get_concrete_function(*specs)
        forget_gradients(traced.graph)
        function = with_constants(traced)
    except Exception as error:
        raise ConversionError(
            f"Model {model.name!r} cannot be made a graph of constants "
            f"({type(error).__name__}: {_first_line(error)})."
        ) from error
    return Graph(function, [spec.name for spec in specs])


def _first_line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0] if lines else "no message"
