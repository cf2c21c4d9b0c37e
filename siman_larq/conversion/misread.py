"""What LCE's converter takes for something else, written in a way that it takes rightly."""

from typing import Any

import numpy as np
import tensorflow as tf

__all__ = ["independent", "readable", "sign_argument", "source", "whole_sums"]

_ELEMENTWISE = ("Add", "AddV2", "Sub", "Mul", "RealDiv", "Div", "DivNoNan", "Maximum", "Minimum")
_ADDITIONS = ("Add", "AddV2")


def readable(graph: tf.Graph) -> tf.compat.v1.GraphDef:
    """A frozen graph's definition, of the same meaning, for LCE.

    - Constants of shape (1, 1, 1, C) behind a binary convolution are taken into it as they are,
      and it does not load, or has wrong thresholds. They become shape (C,).
    - A number added behind a transposed convolution is taken into it as the bias of one filter,
      and it does not load; one taken off is added. They become a number added to each filter.
    - sign(sign(x) + y) is taken for Larq's sign without a 0, whatever y is, as in ternary
      quantizers. Where y is not a constant between 0 and 1, a step that does nothing keeps the
      two signs apart.
    - A scale behind a binary convolution is taken into it, after which a sum of 0 is no longer
      exactly 0, and its sign is as rounding will have it. Half a step is added to what such a
      sign is taken of: sums are whole, so none but 0 turns.
    """
    definition = graph.as_graph_def()
    nodes = {node.name: node for node in definition.node}
    fixed = independent(graph)
    for operation in graph.get_operations():
        if operation.type in _ELEMENTWISE:
            for place in _flat_places(operation, fixed):
                _flatten(definition, nodes[operation.name], place, operation.inputs[place])
            if (filters := _transposed_filters(operation, fixed)) is not None:
                _repeat(definition, nodes[operation.name], operation, filters)
        elif operation.type == "Sign" and operation.inputs[0].dtype == tf.float32:
            if _looks_like_larqs(operation):
                _set_apart(definition, nodes[operation.name], operation.inputs[0])
            elif _is_within_larqs(operation) and (scales := _scales(operation.inputs[0], fixed)):
                _add_half_a_step(definition, nodes[operation.name], scales)
    return definition


def source(tensor: tf.Tensor) -> tf.Tensor:
    """The tensor that a tensor is the same as; custom gradients pass theirs through."""
    while tensor.op.type in ("Identity", "IdentityN"):
        tensor = tensor.op.inputs[tensor.value_index]
    return tensor


def sign_argument(sign: tf.Operation) -> tf.Tensor:
    """What a sign is taken of, Larq's, which has no 0, or TensorFlow's."""
    addition = source(sign.inputs[0]).op
    if addition.type in _ADDITIONS:
        kinds = [source(tensor).op.type for tensor in addition.inputs]
        if "Sign" in kinds and _avoids_zero(addition.inputs[1 - kinds.index("Sign")]):
            return source(addition.inputs[kinds.index("Sign")]).op.inputs[0]
    return sign.inputs[0]


def whole_sums(graph: tf.Graph) -> set[str]:
    """Signs of whole numbers with a scale, of which a 0 keeps its sign in the file too."""
    fixed = independent(graph)
    return {
        operation.name
        for operation in graph.get_operations()
        if operation.type == "Sign"
        and _is_within_larqs(operation)
        and _scales(operation.inputs[0], fixed)
    }


def independent(graph: tf.Graph) -> set[str]:
    """Operations that no input of the graph goes into."""
    found: set[str] = set()
    for operation in graph.get_operations():
        inputs = [tensor.op.name for tensor in operation.inputs]
        if operation.type == "Const" or (inputs and all(name in found for name in inputs)):
            found.add(operation.name)
    return found


def _only_operand(operation: tf.Operation, fixed: set[str]) -> tf.Tensor | None:
    """What an operation combines with nothing but constants."""
    operands = [operand for operand in operation.inputs if operand.op.name not in fixed]
    return operands[0] if len(operands) == 1 else None


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


def _transposed_filters(operation: tf.Operation, fixed: set[str]) -> int | None:
    """How many filters a transposed convolution has, behind which a constant is added."""
    if operation.type not in (*_ADDITIONS, "Sub"):
        return None
    tensor = operation.outputs[0]
    while tensor.op.type in (*_ADDITIONS, "Sub", "Mul", "BiasAdd"):
        operand = _only_operand(tensor.op, fixed)
        if operand is None:
            return None
        tensor = source(operand)
    return tensor.shape[-1] if tensor.op.type == "Conv2DBackpropInput" else None


def _repeat(
    definition: tf.compat.v1.GraphDef,
    node: tf.compat.v1.NodeDef,
    operation: tf.Operation,
    filters: int,
) -> None:
    value = tf.get_static_value(operation.inputs[1])
    place = int(value is not None)
    if value is None and operation.type in _ADDITIONS:
        value = tf.get_static_value(operation.inputs[0])
    if value is None or not (value.size == 1 or value.shape[-1] == value.size == filters):
        return
    if operation.type == "Sub":
        node.op, value = "AddV2", -value
    name, dtype = f"{node.name}/siman_repeated", operation.inputs[0].dtype
    flat = np.broadcast_to(np.reshape(value, -1), filters)
    node.input[place] = _add_constant(definition, name, flat, dtype)


def _looks_like_larqs(sign: tf.Operation) -> bool:
    """Whether LCE takes the outer of two signs for Larq's, and it is not."""
    addition = source(sign.inputs[0]).op
    if addition.type not in _ADDITIONS:
        return False
    kinds = [source(tensor).op.type for tensor in addition.inputs]
    return "Sign" in kinds and not _avoids_zero(addition.inputs[1 - kinds.index("Sign")])


def _avoids_zero(tensor: tf.Tensor) -> bool:
    """Whether Larq adds it to a sign so that there is no 0."""
    value = tf.get_static_value(tensor)
    return value is not None and bool(((np.asarray(value) > 0) & (np.asarray(value) < 1)).all())


def _is_within_larqs(sign: tf.Operation) -> bool:
    """Whether a sign is the inner one of sign(sign(x) + 0.1), Larq's."""
    users = sign.outputs[0].consumers()
    return bool(users) and all(
        user.type in _ADDITIONS
        and any(tensor.op.name != sign.name and _avoids_zero(tensor) for tensor in user.inputs)
        and {further.type for further in user.outputs[0].consumers()} == {"Sign"}
        for user in users
    )


def _scales(tensor: tf.Tensor, fixed: set[str]) -> list[tf.Tensor]:
    """The constants that a tensor of whole numbers was multiplied with; none for others."""
    scales: list[tf.Tensor] = []
    tensor = source(tensor)
    while tensor.op.type in ("Mul", "MaxPool"):
        operand = _only_operand(tensor.op, fixed)
        if operand is None:
            return []
        scales += [other for other in tensor.op.inputs if other.op.name in fixed]
        tensor = source(operand)
    sums = map(source, tensor.op.inputs) if tensor.op.type in _ADDITIONS else [tensor]
    return scales if all(part.op.type == "Conv2D" for part in sums) else []


def _add_half_a_step(
    definition: tf.compat.v1.GraphDef, node: tf.compat.v1.NodeDef, scales: list[tf.Tensor]
) -> None:
    step = _add_constant(definition, f"{node.name}/siman_half", 0.5, tf.float32)
    for number, scale in enumerate(scales):
        size = f"{node.name}/siman_size_{number}"
        step = _add(definition, "Mul", f"{node.name}/siman_step_{number}", step, size)
        _add(definition, "Abs", size, scale.name.removesuffix(":0"))
    node.input[0] = _add(definition, "AddV2", f"{node.name}/siman_moved", node.input[0], step)


def _set_apart(
    definition: tf.compat.v1.GraphDef, node: tf.compat.v1.NodeDef, tensor: tf.Tensor
) -> None:
    least = _add_constant(definition, f"{node.name}/siman_least", tensor.dtype.min, tensor.dtype)
    node.input[0] = _add(definition, "Maximum", f"{node.name}/siman_apart", node.input[0], least)


def _add(definition: tf.compat.v1.GraphDef, kind: str, name: str, *inputs: str) -> str:
    """Adds an operation on floats."""
    node = definition.node.add()
    node.name, node.op = name, kind
    node.input.extend(inputs)
    node.attr["T"].type = tf.float32.as_datatype_enum
    return name


def _add_constant(
    definition: tf.compat.v1.GraphDef, name: str, value: Any, dtype: tf.DType = tf.int32
) -> str:
    node = definition.node.add()
    node.name, node.op = name, "Const"
    node.attr["dtype"].type = dtype.as_datatype_enum
    node.attr["value"].tensor.CopyFrom(tf.make_tensor_proto(value, dtype, shape=np.shape(value)))
    return name
