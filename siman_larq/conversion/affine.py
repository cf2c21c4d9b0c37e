"""Finds float convolutions and dense layers, with the scales and shifts that belong to them."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import tensorflow as tf

from siman_larq.conversion.binary import fits_one_bit
from siman_larq.conversion.misread import independent, source

__all__ = ["Section", "folded", "sections_of"]

_ACTIVATIONS = {"": tf.identity, "Relu": tf.nn.relu, "Relu6": tf.nn.relu6}


@dataclass(frozen=True)
class Section:
    """A float convolution or dense layer, with all that a file computes in the same operator.

    # Attributes
        operation: It.
        given: The tensor that goes into it.
        made: The tensor that comes out, behind scales, shifts and activation.
        kernel: With the scales in it; the last axis counts the filters.
        bias: The shifts.
        activation: The kind of the operation behind it, empty without one.
        pool: A maximum behind that, which alone takes what comes out.
    """

    operation: tf.Operation
    given: tf.Tensor
    made: tf.Tensor
    kernel: np.ndarray
    bias: np.ndarray
    activation: str
    pool: tf.Operation | None


def sections_of(graph: tf.Graph, outputs: list[tf.Tensor]) -> list[Section]:
    """The float convolutions and dense layers of a frozen graph whose form int8 operators have.

    # Arguments
        graph: The graph.
        outputs: Its outputs.
    """
    fixed = independent(graph)
    ends = {tensor.op.name for tensor in outputs}
    return [
        _section(operation, kernel, ends)
        for operation, kernel in _multiplications(graph, fixed)
        if _has_operator(operation, kernel) and not fits_one_bit(_filters(operation, kernel))
    ]


def folded(section: Section) -> tf.Tensor:
    """What a section makes, with scales and shifts in kernel and bias, in its graph."""
    operation = section.operation
    kernel = section.kernel.reshape(operation.inputs[1].shape).astype(np.float32)
    again = operation.graph.create_op(
        operation.type,
        [section.given, tf.constant(kernel)],
        [tf.float32],
        attrs=dict(operation.node_def.attr),
    )
    made = again.outputs[0] + section.bias.astype(np.float32)
    return _ACTIVATIONS[section.activation](made)


def _multiplications(graph: tf.Graph, fixed: set[str]) -> Iterator[tuple[tf.Operation, np.ndarray]]:
    for operation in graph.get_operations():
        if operation.type not in ("Conv2D", "DepthwiseConv2dNative", "MatMul"):
            continue
        kernel = tf.get_static_value(source(operation.inputs[1]))
        if kernel is not None and operation.name not in fixed:
            yield operation, np.asarray(kernel)


def _has_operator(operation: tf.Operation, kernel: np.ndarray) -> bool:
    """Whether TFLite has an int8 operator of its form."""
    if operation.inputs[0].dtype != tf.float32:
        return False
    if operation.type == "MatMul":
        return not any(operation.get_attr(f"transpose_{side}") for side in "ab")
    # Of groups and filters that TensorFlow takes apart for their holes there is none.
    return (
        operation.get_attr("data_format") == b"NHWC"
        and operation.inputs[0].shape[-1] == kernel.shape[2]
        and source(operation.inputs[0]).op.type != "SpaceToBatchND"
    )


def _filters(operation: tf.Operation, kernel: np.ndarray) -> np.ndarray:
    """A kernel with the channels of its outputs as the last axis."""
    if operation.type == "DepthwiseConv2dNative":
        return kernel.reshape(*kernel.shape[:2], -1)
    return kernel


def _section(operation: tf.Operation, kernel: np.ndarray, ends: set[str]) -> Section:
    filters = _filters(operation, kernel).astype(np.float64)
    scale, shift = np.ones(filters.shape[-1]), np.zeros(filters.shape[-1])
    made, activation = operation.outputs[0], ""
    while not activation and (user := _only_user(made, ends)) is not None:
        if user.type in _ACTIVATIONS:
            activation = user.type
        elif (step := _affine(user, made, len(scale))) is not None:
            scale, shift = scale * step[0], shift * step[0] + step[1]
        else:
            break
        made = user.outputs[0]
    pool = _only_user(made, ends)
    return Section(
        operation,
        operation.inputs[0],
        made,
        filters * scale,
        shift,
        activation,
        pool if pool is not None and _is_maximum(pool) else None,
    )


def _only_user(tensor: tf.Tensor, ends: set[str]) -> tf.Operation | None:
    users = tensor.consumers()
    return users[0] if len(users) == 1 and users[0].name not in ends else None


def _is_maximum(operation: tf.Operation) -> bool:
    return operation.type == "MaxPool" and operation.get_attr("data_format") == b"NHWC"


def _affine(operation: tf.Operation, tensor: tf.Tensor, channels: int) -> Any:
    """Scale and shift of each channel that an operation is; `None` if it is none."""
    if operation.type == "Identity":
        return 1.0, 0.0
    operands = [tf.get_static_value(source(operand)) for operand in operation.inputs]
    if operation.type == "FusedBatchNormV3":
        return _normalisation(operation, operands)
    if operation.inputs[0] is tensor or operation.type in ("Add", "AddV2", "Mul"):
        other = operands[-1] if operation.inputs[0] is tensor else operands[0]
        value = None if other is None else _per_channel(np.asarray(other), tensor, channels)
        if value is not None and operation.type in ("BiasAdd", "Add", "AddV2"):
            return 1.0, value
        if value is not None and operation.type == "Sub":
            return 1.0, -value
        if value is not None and operation.type == "Mul":
            return value, 0.0
    return None


def _normalisation(operation: tf.Operation, operands: list[Any]) -> Any:
    if operation.get_attr("is_training") or operation.get_attr("data_format") != b"NHWC":
        return None
    if any(operand is None for operand in operands[1:]):
        return None
    gamma, beta, mean, variance = (np.asarray(x, np.float64) for x in operands[1:])
    scale = gamma / np.sqrt(variance + operation.get_attr("epsilon"))
    return scale, beta - mean * scale


def _per_channel(value: np.ndarray, tensor: tf.Tensor, channels: int) -> np.ndarray | None:
    """Values for each channel, of what is broadcast so; else `None`."""
    rank = tensor.shape.rank
    if rank is None or value.ndim > rank or value.dtype != np.float32:
        return None
    if value.size == 1 or (value.size == channels and value.shape[-1] == channels):
        return value.astype(np.float64).reshape(-1)
    return None
