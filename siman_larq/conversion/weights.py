"""Refuses weights that no file can hold."""

import numpy as np
import tensorflow as tf

from siman_larq._scopes import quantized
from siman_larq.conversion.errors import ConversionError

__all__ = ["check_weights"]


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
    """Weights by their own name and their layer's, the innermost that has them."""
    owners = [
        part
        for part in (model, *model.submodules)
        if isinstance(part, tf.keras.layers.Layer)
        and any(weight is variable for weight in part.weights)
    ]
    name = variable.name.split(":")[0].rpartition("/")[2]
    # Of those with equally few weights the last, since what holds others comes before them.
    owner = min(reversed(owners), key=lambda layer: len(layer.weights), default=model)
    return f"{name!r} of layer {owner.name!r}"
