"""Float convolutions and dense layers of a graph in the form that LCE makes int8 operators of."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import tensorflow as tf

from siman_larq.conversion.affine import Section, folded, sections_of
from siman_larq.conversion.errors import ConversionError
from siman_larq.conversion.freeze import Graph, plain_session
from siman_larq.conversion.misread import source

__all__ = ["Int8Graph", "Quantized", "in_int8"]

Range = tuple[float, float]

# Of the largest number, where scales are multiplied in another order.
_TOLERANCE = 1e-3
_LEVELS = 127
_BIAS_LEVELS = 2**30
# TFLite's own: no kernel is taken for smaller.
_LEAST = 5e-7


@dataclass(frozen=True)
class Quantized:
    """A section whose numbers are 8-bit integers.

    # Attributes
        section: The section.
        given: Name of the tensor that goes into it, in the graph with integers.
        made: Name of the tensor that comes out.
        kernel: Its kernel, of the numbers that the integers stand for.
        bias: Its bias.
        step: What an integer of what comes out stands for.
    """

    section: Section
    given: str
    made: str
    kernel: np.ndarray
    bias: np.ndarray
    step: float


@dataclass(frozen=True)
class Int8Graph:
    """A graph that computes what its int8 file does.

    # Attributes
        graph: The graph.
        sections: What of it is int8.
    """

    graph: Graph
    sections: list[Quantized]


def in_int8(graph: Graph, steps: list[list[np.ndarray]]) -> Int8Graph:
    """Puts a graph's float convolutions and dense layers on 8 bits.

    Kernels get the values that their integers stand for, one step for each filter of a
    convolution and one for a dense layer, with batch normalisation taken into them. What goes in
    and comes out passes a fake quantization of the range that it has for the given inputs. What
    is binary, or goes into it, stays as it is.

    # Arguments
        graph: The graph.
        steps: Inputs to measure ranges on, as many images at a time as fit the memory.

    # Raises
        ConversionError: where there is nothing to put on 8 bits, or values are not finite.
    """
    definition = graph.function.graph.as_graph_def()
    imported = tf.Graph()
    with imported.as_default():
        tf.import_graph_def(definition, name="")
    outputs = [imported.get_tensor_by_name(tensor.name) for tensor in graph.function.outputs]
    sections = sections_of(imported, outputs)
    ranges, signs = _measured(imported, graph.names, sections, steps)
    _check_folded(imported, graph.names, sections, steps[0])
    sections = [section for section in sections if section.given.name not in signs]
    if not sections:
        raise ConversionError(
            "float_ops='int8' finds no float convolution or dense layer to put on 8 bits (binary "
            "ones, and those with -1 and +1 as inputs, stay as they are); leave it out."
        )
    rewriting = _Rewriting(definition, ranges)
    quantized = [rewriting.add(section) for section in sections]
    function = _function(rewriting.finished(), graph.names, [tensor.name for tensor in outputs])
    return Int8Graph(Graph(function, graph.names), quantized)


def _check_folded(
    graph: tf.Graph, names: list[str], sections: list[Section], values: list[np.ndarray]
) -> None:
    """Raises unless sections make the same with scales and shifts in kernel and bias."""
    with graph.as_default():
        fetched = [(section.made, folded(section)) for section in sections]
    with plain_session(graph) as session:
        feeds = {f"{name}:0": value for name, value in zip(names, values, strict=True)}
        for section, (made, again) in zip(sections, session.run(fetched, feeds), strict=True):
            if not np.abs(made - again).max() <= _TOLERANCE * np.abs(made).max() + 1e-6:
                raise ConversionError(
                    f"What stands behind {section.operation.name!r} cannot be taken into it, as "
                    "int8 operators have it (largest difference "
                    f"{np.abs(made - again).max():.3g}); leave float_ops='int8' out."
                )


def _measured(
    graph: tf.Graph,
    names: list[str],
    sections: list[Section],
    steps: list[list[np.ndarray]],
) -> tuple[dict[str, Range], set[str]]:
    """The range of each tensor that goes into a section or comes out, and which are signs."""
    tensors = {t.name: t for section in sections for t in (section.given, section.made)}
    with graph.as_default():
        fetched = [
            (tf.reduce_min(t), tf.reduce_max(t), tf.reduce_all(tf.abs(t) == 1))
            for t in tensors.values()
        ]
    ranges = dict.fromkeys(tensors, (0.0, 0.0))
    signs = set(tensors)
    with plain_session(graph) as session:
        for values in steps:
            feeds = {f"{name}:0": value for name, value in zip(names, values, strict=True)}
            for name, (least, most, is_sign) in zip(
                tensors, session.run(fetched, feeds), strict=True
            ):
                if not np.isfinite([least, most]).all():
                    raise ConversionError(
                        f"convert: samples give values that are NaN or infinite at {name!r}; "
                        "int8 needs finite ones."
                    )
                # 0 is always an integer of its own.
                low, high = ranges[name]
                ranges[name] = (min(low, float(least)), max(high, float(most)))
                if not is_sign:
                    signs.discard(name)
    # Nothing but 0: any range holds it.
    return {name: r if r[0] < r[1] else (0.0, 1.0) for name, r in ranges.items()}, signs


def _function(definition: Any, names: list[str], outputs: list[str]) -> Any:
    wrapped = tf.compat.v1.wrap_function(lambda: tf.import_graph_def(definition, name=""), [])
    feeds, fetches = (
        [wrapped.graph.get_tensor_by_name(name) for name in group]
        for group in ([f"{name}:0" for name in names], outputs)
    )
    return wrapped.prune(feeds, fetches)


class _Rewriting:
    """Takes sections into a graph's definition, in the graph's order."""

    def __init__(self, definition: tf.compat.v1.GraphDef, ranges: dict[str, Range]) -> None:
        self._definition, self._ranges = definition, ranges
        self._old = list(definition.node)
        self._nodes = {node.name: node for node in self._old}
        self._on_8_bits: dict[str, str] = {}
        self._replaced: dict[str, str] = {}
        self._set: list[tuple[tf.compat.v1.NodeDef, int, str]] = []
        self._steps: dict[str, float] = {}

    def add(self, section: Section) -> Quantized:
        """Takes a section, whose inputs may come from one before it."""
        given = self._quantized_input(section.given)
        name = f"siman_int8/{section.operation.name}"
        node = self._nodes[section.operation.name]
        kernel, bias = _on_grid(section, self._steps[given]), _unequal(section.bias)
        self._set += [(node, 0, given), (node, 1, self._constant(f"{name}/kernel", kernel))]
        tensor = self._node(
            "BiasAdd", f"{name}/biased", node.name, self._constant(f"{name}/bias", bias)
        )
        if section.activation:
            tensor = self._node(section.activation, f"{name}/activated", tensor)
        made = end = self._fake_quantized(f"{name}/made", tensor, section.made.name)
        old_end = section.made
        if section.pool is not None:
            # The largest of integers: they stay so.
            self._set.append((self._nodes[section.pool.name], 0, made))
            end, old_end = section.pool.name, section.pool.outputs[0]
        self._on_8_bits[old_end.name] = end
        self._steps[end] = self._steps[made]
        self._replaced[old_end.name] = self._barrier(f"{name}/float", end)
        return Quantized(section, f"{given}:0", f"{made}:0", kernel, bias, self._steps[made])

    def finished(self) -> tf.compat.v1.GraphDef:
        """The definition with all that was added."""
        for node in self._old:
            for place, name in enumerate(node.input):
                tensor = name if ":" in name else f"{name}:0"
                node.input[place] = self._replaced.get(tensor, name)
        for node, place, name in self._set:
            node.input[place] = name
        return self._definition

    def _quantized_input(self, tensor: tf.Tensor) -> str:
        name = tensor.name
        for known in (name, source(tensor).name):
            if known in self._on_8_bits:
                return self._on_8_bits[known]
        floats = self._barrier(f"siman_int8/{tensor.op.name}/given", name)
        self._on_8_bits[name] = self._fake_quantized(
            f"siman_int8/{tensor.op.name}/quantized", floats, name
        )
        return self._on_8_bits[name]

    def _barrier(self, name: str, tensor: str) -> str:
        """A step that changes nothing, past which the converter makes no more integers."""
        zero = self._constant(f"{name}/siman_zero", np.float32(-0.0))
        return self._node("AddV2", name, tensor, zero)

    def _fake_quantized(self, name: str, tensor: str, measured: str) -> str:
        bounds = [
            self._constant(f"{name}/{side}", np.float32(value))
            for side, value in zip(("least", "most"), self._ranges[measured], strict=True)
        ]
        node = self._definition.node.add()
        node.name, node.op = name, "FakeQuantWithMinMaxVars"
        node.input.extend([tensor, *bounds])
        node.attr["num_bits"].i = 8
        node.attr["narrow_range"].b = False
        low, high = self._ranges[measured]
        self._steps[name] = (high - low) / 255
        return name

    def _node(self, kind: str, name: str, *inputs: str) -> str:
        node = self._definition.node.add()
        node.name, node.op = name, kind
        node.input.extend(inputs)
        node.attr["T"].type = tf.float32.as_datatype_enum
        return name

    def _constant(self, name: str, value: Any) -> str:
        node = self._definition.node.add()
        node.name, node.op = name, "Const"
        node.attr["dtype"].type = tf.float32.as_datatype_enum
        node.attr["value"].tensor.CopyFrom(tf.make_tensor_proto(value, tf.float32))
        return name


def _unequal(bias: np.ndarray) -> np.ndarray:
    """A bias whose numbers are not all equal, if by the last bit only.

    Such a constant the converter rounds in the steps of the first filter, for all of them.
    """
    bias = bias.astype(np.float32)
    if bias.size > 1 and bias[0] != 0 and np.ptp(bias) == 0:
        bias[-1] = np.nextafter(bias[-1], np.float32(np.inf))
    return bias


def _on_grid(section: Section, given_step: float) -> np.ndarray:
    """A kernel rounded to the numbers that its integers stand for, in the graph's shape.

    As the converter has it: symmetric, one step for each filter of a convolution and one for a
    whole dense layer, and none so small that a bias, in steps of kernel times inputs, has more than
    30 bits.
    """
    kernel, bias = section.kernel, np.abs(section.bias)
    axes = tuple(range(kernel.ndim - 1))
    if section.operation.type == "MatMul":
        axes, bias = (0, 1), bias.max(keepdims=True)
    largest = np.max(np.abs(kernel), axis=axes)
    needed = _LEVELS * bias / (given_step * _BIAS_LEVELS)
    step = np.maximum(np.maximum(largest, needed), _LEAST) / _LEVELS
    shape = section.operation.inputs[1].shape
    return (np.round(kernel / step) * step).reshape(shape).astype(np.float32)
