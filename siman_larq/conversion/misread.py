"""What LCE's converter takes for something else, written in a way that it takes rightly."""

from typing import Any

import numpy as np
import tensorflow as tf

__all__ = ["readable"]

_ELEMENTWISE = ("Add", "AddV2", "Sub", "Mul", "RealDiv", "Div", "DivNoNan", "Maximum", "Minimum")
_ADDITIONS = ("Add", "AddV2")


def readable(graph: tf.Graph) -> tf.compat.v1.GraphDef:
    """A frozen graph's definition, of the same meaning, for LCE.

    - Constants of shape (1, 1, 1, C) behind a binary convolution are taken into it as they are,
      and it does not load, or has wrong thresholds. They become shape (C,).
    - sign(sign(x) + y) is taken for Larq's sign without a 0, whatever y is, as in ternary
      quantizers. Where y is not a constant between 0 and 1, a step that does nothing keeps the
      two signs apart.
    """
    definition = graph.as_graph_def()
    nodes = {node.name: node for node in definition.node}
    fixed = _independent(graph)
    for operation in graph.get_operations():
        if operation.type in _ELEMENTWISE:
            for place in _flat_places(operation, fixed):
                _flatten(definition, nodes[operation.name], place, operation.inputs[place])
        elif operation.type == "Sign" and _looks_like_larqs(operation):
            _set_apart(definition, nodes[operation.name], operation.inputs[0])
    return definition


def _independent(graph: tf.Graph) -> set[str]:
    """Operations that no input of the graph goes into."""
    found: set[str] = set()
    for operation in graph.get_operations():
        inputs = [tensor.op.name for tensor in operation.inputs]
        if operation.type == "Const" or (inputs and all(name in found for name in inputs)):
            found.add(operation.name)
    return found


def _flat_places(operation: tf.Operation, fixed: set[str]) -> list[int]:
    shapes = [tensor.shape for tensor in operation.inputs]
    if any(shape.rank != 4 for shape in shapes):
        return []
    return [
        place
        for place, tensor in enumerate(operation.inputs)
        if tensor.op.name in fixed
        and operation.inputs[1 - place].op.name not in fixed
        and tensor.shape[:3] == (1, 1, 1)
        and tensor.shape[3] is not None
    ]


def _flatten(
    definition: tf.compat.v1.GraphDef, node: tf.compat.v1.NodeDef, place: int, tensor: tf.Tensor
) -> None:
    size = tensor.shape[3]
    shape = _add_constant(
        definition, f"{node.name}/siman_shape_{place}", [size] if size > 1 else []
    )
    flat = definition.node.add()
    flat.name, flat.op = f"{node.name}/siman_flat_{place}", "Reshape"
    flat.input.extend([node.input[place], shape])
    flat.attr["T"].type = tensor.dtype.as_datatype_enum
    flat.attr["Tshape"].type = tf.int32.as_datatype_enum
    node.input[place] = flat.name


def _looks_like_larqs(sign: tf.Operation) -> bool:
    """Whether LCE takes the outer of two signs for Larq's, and it is not."""
    addition = sign.inputs[0].op
    if addition.type not in _ADDITIONS or not sign.inputs[0].dtype.is_floating:
        return False
    kinds = [tensor.op.type for tensor in addition.inputs]
    if "Sign" not in kinds:
        return False
    other = addition.inputs[1 - kinds.index("Sign")]
    value = tf.get_static_value(other)
    return value is None or not bool(((np.asarray(value) > 0) & (np.asarray(value) < 1)).all())


def _set_apart(
    definition: tf.compat.v1.GraphDef, node: tf.compat.v1.NodeDef, tensor: tf.Tensor
) -> None:
    least = _add_constant(definition, f"{node.name}/siman_least", tensor.dtype.min, tensor.dtype)
    apart = definition.node.add()
    apart.name, apart.op = f"{node.name}/siman_apart", "Maximum"
    apart.input.extend([node.input[0], least])
    apart.attr["T"].type = tensor.dtype.as_datatype_enum
    node.input[0] = apart.name


def _add_constant(
    definition: tf.compat.v1.GraphDef, name: str, value: Any, dtype: tf.DType = tf.int32
) -> str:
    node = definition.node.add()
    node.name, node.op = name, "Const"
    node.attr["dtype"].type = dtype.as_datatype_enum
    node.attr["value"].tensor.CopyFrom(tf.make_tensor_proto(value, dtype, shape=np.shape(value)))
    return name
