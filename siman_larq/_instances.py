"""Classes that were given where an instance belongs."""

from typing import Any

import tensorflow as tf

from siman_larq._scopes import leave_quantized

__all__ = ["refuse_class", "refuse_tensor"]


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


def refuse_class(argument: str, given: Any, example: str) -> None:
    """Finds a class in place of an instance before a layer is made.

    # Raises
        TypeError: with the cure.
    """
    if isinstance(given, type):
        raise TypeError(f"{argument}={given!r} is a class; give an instance such as {example}.")
