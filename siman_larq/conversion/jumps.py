"""Ops whose outputs jump, where rounding may decide to which side."""

import re

import tensorflow as tf

from siman_larq.conversion.misread import source

__all__ = ["COMPARISONS", "JUMPS", "QUANTIZATION", "is_jump"]

COMPARISONS = ("Greater", "GreaterEqual", "Less", "LessEqual", "Equal", "NotEqual")
_STEPS = ("Sign", "Round", "Rint", "Floor", "Ceil")
JUMPS = (*_STEPS, *COMPARISONS)
"""Ops that jump, or tell other ops to."""

QUANTIZATION = re.compile(r"FakeQuant|QuantizeAndDequantizeV[23]")


def is_jump(operation: tf.Operation) -> bool:
    """Whether the values of an op jump where numbers that it is computed from are rounded.

    Numbers that are given are not, and a choice need not jump: that of ReLU does not.
    """
    if not operation.inputs or source(operation.inputs[0]).op.type == "Placeholder":
        return False
    first = operation.inputs[0]
    if operation.type in _STEPS:
        return first.dtype.is_floating
    if operation.type == "Cast":
        is_to_integer = first.dtype.is_floating and operation.outputs[0].dtype.is_integer
        return is_to_integer or _is_comparison(first)
    if operation.type in ("Select", "SelectV2"):
        levels = (tf.get_static_value(source(value)) for value in operation.inputs[1:])
        return _is_comparison(first) and all(level is not None for level in levels)
    return QUANTIZATION.match(operation.type) is not None


def _is_comparison(tensor: tf.Tensor) -> bool:
    operation = source(tensor).op
    if operation.type not in COMPARISONS or not operation.inputs[0].dtype.is_floating:
        return False
    return source(operation.inputs[0]).op.type != "Placeholder"
