"""The weights of a model by the layers that have them; refuses what no file can hold."""

import numpy as np
import tensorflow as tf

from siman_larq._scopes import quantized
from siman_larq.conversion.binary import leaves
from siman_larq.conversion.errors import ConversionError

__all__ = ["check_weights", "own_name", "owned_weights"]


def check_weights(model: tf.keras.Model) -> None:
    """Raises unless all weights of a model are finite, and float32 where they are floats.

    # Raises
        ConversionError: naming layer and weights.
    """
    with quantized(False):
        for variable in model.variables:
            dtype = variable.dtype.base_dtype
            if not dtype.is_floating:
                continue
            if dtype != tf.float32:
                raise ConversionError(
                    f"{_named(model, variable)} are of dtype {dtype.name}, and a file holds "
                    "float32 only. Build the model under the policy 'float32' (or mixed "
                    "precision, whose weights are float32), and give it these weights: "
                    "model32.set_weights(model.get_weights())."
                )
            values = variable.numpy()
            if bad := int(np.count_nonzero(~np.isfinite(values))):
                raise ConversionError(
                    f"{bad} of the {values.size} weights {_named(model, variable)} are NaN or "
                    "infinite; look for a diverged training step or a damaged weights file."
                )


def _named(model: tf.keras.Model, variable: tf.Variable) -> str:
    owners = (owner for owner, weight in owned_weights(model) if weight is variable)
    owner = next(owners, model)
    return f"{own_name(variable)!r} of layer {owner.name!r}"


def own_name(variable: tf.Variable) -> str:
    """The name of a weight in its layer, such as `"kernel"`; of a table, what it is."""
    if not hasattr(variable, "name"):
        return type(variable).__name__
    return variable.name.split(":")[0].rpartition("/")[2]


def owned_weights(model: tf.keras.Model) -> list[tuple[tf.keras.layers.Layer, tf.Variable]]:
    """The weights of a model, once each, with the innermost layer that has them.

    In the order of its layers, whichever of them are frozen.
    """
    parts = [part for part in (model, *model.submodules) if isinstance(part, tf.keras.layers.Layer)]
    # Metrics are layers too, and no part of the network.
    wanted = {id(weight) for weight in model.weights}
    owners: dict[int, tf.keras.layers.Layer] = {}
    for part in sorted(parts, key=lambda part: len(part.weights), reverse=True):
        # Of those with equally few weights the last, since what holds others comes before them.
        owners |= dict.fromkeys(map(id, part.weights), part)
    found: dict[int, tuple[tf.keras.layers.Layer, tf.Variable]] = {}
    for part in (*leaves(model), *parts):
        for weight in getattr(part, "weights", []):
            if id(weight) in wanted and owners[id(weight)] is part:
                found[id(weight)] = (part, weight)
    return list(found.values())
