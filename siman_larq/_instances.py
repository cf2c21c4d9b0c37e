"""Quantizers and constraints as they are given: names, classes, instances."""

import difflib
from typing import Any

import larq as lq
import tensorflow as tf

from siman_larq._scopes import leave_quantized

__all__ = ["refuse_tensor", "resolve"]

_EXAMPLES = {
    "kernel_quantizer": ("siman_pm1", "SiMaNQuantizer(levels=(-1, 1))"),
    "input_quantizer": ("sample_sign", "SampleSign()"),
    "kernel_constraint": ("percentile_clip", "PercentileClip()"),
}


def refuse_tensor(name: str, argument: str, value: Any, example: str) -> None:
    """Larq calls whatever it is given as a quantizer: of a class, that makes an instance.

    # Raises
        TypeError: with the cure.
    """
    if tf.is_tensor(value) or isinstance(value, tf.Variable):
        leave_quantized()
        raise TypeError(
            f"{name} got a tensor as its {argument}, as happens when a layer is given the class in "
            f"place of an instance; write {example}, with the parentheses."
        )


def resolve(argument: str, identifier: Any) -> Any:
    """The quantizer or constraint that a name, a dict or an instance stands for.

    # Arguments
        argument: `"kernel_quantizer"`, `"input_quantizer"` or `"kernel_constraint"`.
        identifier: What was given.

    # Raises
        TypeError: for a class.
        ValueError: for what Larq and Keras do not know, with the name that is nearest.
    """
    name, example = _EXAMPLES[argument]
    is_constraint = argument.endswith("constraint")
    get = tf.keras.constraints.get if is_constraint else lq.quantizers.get
    try:
        found = get(identifier)
    except (TypeError, ValueError) as error:
        module = tf.keras.constraints if is_constraint else lq.quantizers
        known = [*tf.keras.utils.get_custom_objects(), *vars(module)]
        near = difflib.get_close_matches(str(identifier).lower(), known, n=1, cutoff=0.5)
        raise ValueError(
            f"{argument}={identifier!r} is unknown; give the name of a registered one such as "
            f"{(near or [name])[0]!r}, a dict of class_name and config, or an instance."
        ) from error
    if isinstance(found, type):
        raise TypeError(f"{argument}={found!r} is a class; give an instance such as {example}.")
    return found
