"""Which layer follows which, and what it is called with, however models are nested in models."""

import hashlib
import inspect
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import tensorflow as tf

__all__ = ["Wiring", "plain", "wiring_of"]

# Of longer settings, such as tables, the SHA-256 is enough.
_LONGEST = 1000

_Place = Callable[[tf.keras.layers.Layer], int | None]


@dataclass(frozen=True)
class Wiring:
    """Where the layers of a model get their inputs from.

    A tensor is `"input:0"` for the model's first input, and `"5:1:0"` for the first output of the
    second call of layer number 5.

    # Attributes
        calls: For the `id` of a layer its calls, each the arguments by name.
        outputs: The tensors that the model gives; `None` where Keras knows no calls, as in models
            with a `call` of their own.
    """

    calls: dict[int, list[dict[str, Any]]] = field(default_factory=dict)
    outputs: list[str] | None = None


def wiring_of(model: tf.keras.Model, place: _Place) -> Wiring:
    """The wiring of a model.

    # Arguments
        model: The model.
        place: Gives the number of a layer, and `None` for one that passes on what it gets.
    """
    if model.inputs is None:
        return Wiring()
    follower = _Follower(place)
    inputs = [f"input:{number}" for number in range(len(tf.nest.flatten(model.inputs)))]
    try:
        return Wiring(follower.calls, follower.outputs_of(model, inputs))
    except (AttributeError, KeyError, TypeError, ValueError):  # layers of kinds Keras has not
        return Wiring()


def plain(value: Any) -> Any:
    """A setting as JSON has it, of objects and functions their name; `...` for what has no form."""
    found = _plain(value)
    text = "" if found is ... else json.dumps(found)
    return found if len(text) <= _LONGEST else hashlib.sha256(text.encode()).hexdigest()


def _plain(value: Any) -> Any:
    if isinstance(value, dict) and "class_name" in value:
        is_function = value["class_name"] == "function"
        return str(value.get("config") if is_function else value["class_name"])
    if isinstance(value, list | tuple):
        parts = [_plain(part) for part in value]
        return ... if ... in parts else parts
    try:
        text = json.dumps(value, allow_nan=False, default=lambda it: np.asarray(it).tolist())
    except (TypeError, ValueError):
        return ...
    return json.loads(text)


class _Follower:
    """Follows tensors through a model, and through the models within it."""

    def __init__(self, place: _Place) -> None:
        self.calls: dict[int, list[dict[str, Any]]] = {}
        self._place = place

    def outputs_of(
        self, model: tf.keras.Model, inputs: list[str], trains: bool = False
    ) -> list[str]:
        """The outputs of a model on inputs, as it trains or as it infers."""
        if isinstance(model, tf.keras.Sequential):
            for layer in model.layers:
                inputs = self._called(layer, inputs, ((inputs[0],), {}), 1, trains)
            return inputs
        known = dict(zip(map(id, tf.nest.flatten(model.inputs)), inputs, strict=True))
        wanted = tf.nest.flatten(model.outputs)
        left = wanted[::-1]
        while left:
            node = left[-1].node
            unknown = [tensor for tensor in node.keras_inputs if id(tensor) not in known]
            if id(left[-1]) in known:
                left.pop()
            elif unknown:
                left += unknown[::-1]
            else:
                made = tf.nest.flatten(node.outputs)
                found = self._made(node, known, len(made), trains)
                known |= dict(zip(map(id, made), found, strict=True))
        return [known[id(tensor)] for tensor in wanted]

    def _made(self, node: Any, known: dict[int, str], count: int, trains: bool) -> list[str]:
        given = tf.nest.map_structure(
            lambda value: known.get(id(value), value), (node.call_args, node.call_kwargs)
        )
        inputs = [known[id(tensor)] for tensor in node.keras_inputs]
        return self._called(node.layer, inputs, given, count, trains)

    def _called(
        self, layer: tf.keras.layers.Layer, inputs: list[str], given: Any, count: int, trains: bool
    ) -> list[str]:
        """The outputs, so many of them, of a layer that is called on inputs and other arguments."""
        args, kwargs = given
        signature = inspect.signature(layer.call)
        arguments = signature.bind(*args, **kwargs).arguments
        if arguments.get("training") is not None:
            trains = arguments["training"]
        if isinstance(layer, tf.keras.Model) and layer.inputs is not None:
            return self.outputs_of(layer, inputs, trains)
        number = self._place(layer)
        if number is None:
            return inputs
        calls = self.calls.setdefault(id(layer), [])
        calls.append(_differing(arguments, signature.parameters, trains))
        return [f"{number}:{len(calls) - 1}:{output}" for output in range(count)]


def _differing(given: dict[str, Any], parameters: Any, trains: bool) -> dict[str, Any]:
    """Arguments by name, without those that make no difference."""
    named = {name: plain(given[name]) for name in given if name not in ("name", "training")}
    differ = {
        name: value
        for name, value in named.items()
        if value not in (..., plain(parameters[name].default))
    }
    if trains and "training" in parameters:  # with False, and without it, a layer infers
        differ["training"] = plain(trains)
    return differ
