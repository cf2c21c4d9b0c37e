"""What layers compute beside their weights: settings that no weight's shape shows."""

import warnings
from collections.abc import Iterator
from typing import Any

import larq as lq
import numpy as np
import tensorflow as tf

from siman_larq._scopes import quantized
from siman_larq.bits.codes import name_of
from siman_larq.bits.entries import Described
from siman_larq.bits.wiring import plain, wiring_of
from siman_larq.conversion.binary import leaves

__all__ = ["described"]

# What only training looks at, what names and sizes things, and how the same is computed.
_APART = (
    *("name", "trainable", "dtype", "dynamic", "batch_input_shape", "batch_shape", "batch_size"),
    *("query_shape", "key_shape", "value_shape", "input_length", "metrics", "module"),
    *("momentum", "dropout", "recurrent_dropout", "seed"),
    *("implementation", "unroll", "synchronized", "fused"),
)
# Those of kernels are tried on the file's weights.
_APART_ENDS = ("initializer", "regularizer", "constraint", "quantizer")
# Layers that do nothing once a network is trained.
_IN_TRAINING = (
    *("InputLayer", "Dropout", "SpatialDropout1D", "SpatialDropout2D", "SpatialDropout3D"),
    *("AlphaDropout", "GaussianDropout", "GaussianNoise", "ActivityRegularization"),
)
# An image with values all around 0, and one of a single value.
_PROBE = np.array(
    [
        *(-3.1, -1.7, -1.0, -0.9, -0.6, -0.3, -0.1, 0.0, 0.2, 0.4, 0.5, 0.7, 1.0, 1.4, 2.3, 6.5),
        *[0.5] * 16,
    ],
    np.float32,
).reshape(2, 2, 2, 4)


def described(model: tf.keras.Model) -> tuple[list[Described], list[str] | None]:
    """The layers of a model, in its order, once each, and the tensors that it gives.

    Layers that do nothing once a network is trained are left out.
    """
    layers = list(_layers(model))
    numbers = {id(layer): number for number, layer in enumerate(layers)}

    def place(layer: tf.keras.layers.Layer) -> int | None:
        parts = map(id, (layer, *layer.submodules))
        return next((numbers[part] for part in parts if part in numbers), None)

    wiring = wiring_of(model, place)
    with quantized(False):
        found = [
            Described(
                layer.name, type(layer).__name__, _settings(layer), wiring.calls.get(id(layer))
            )
            for layer in layers
        ]
    return found, wiring.outputs


def _layers(model: tf.keras.Model) -> Iterator[tf.keras.layers.Layer]:
    found = {id(part): part for part in leaves(model) if isinstance(part, tf.keras.layers.Layer)}
    held = {
        id(value)
        for part in found.values()
        for key, value in vars(part).items()
        if key.endswith("quantizer")
    }
    for number, layer in found.items():
        kind = type(layer).__name__
        if (
            number not in held
            and kind not in _IN_TRAINING
            and not kind.startswith("Random")
            and not isinstance(layer, tf.keras.Model | tf.keras.metrics.Metric)
        ):
            yield layer


def _settings(layer: tf.keras.layers.Layer) -> dict[str, Any]:
    if isinstance(layer, lq.quantizers.Quantizer):
        return {"quantizer": _answers(layer)}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of what `.keras` files cannot hold
        try:
            config = layer.get_config()
        except Exception:  # of a class that `.keras` files cannot hold either
            config = {}
    settings = {
        key: value
        for key, value in config.items()
        if key not in _APART and not key.endswith(_APART_ENDS)
    }
    if isinstance(layer, tf.keras.layers.Lambda):  # compiled, which each Python does in its way
        settings.pop("function", None)
    if hasattr(layer, "input_quantizer"):
        quantizer = layer.input_quantizer
        settings["input_quantizer"] = None if quantizer is None else _answers(quantizer)
    return {key: known for key, value in settings.items() if (known := plain(value)) is not ...}


def _answers(quantizer: Any) -> dict[str, Any]:
    """What a quantizer makes of some values, so that those which agree are told from others.

    Nothing but its name of a quantizer that has weights or is measured by metrics.
    """
    name = name_of(quantizer)
    if getattr(quantizer, "weights", None) or hasattr(quantizer, "flip_ratio"):
        return {"quantizer": name}
    try:
        made = np.asarray(quantizer(tf.constant(_PROBE)), np.float64)
    except Exception:  # what it is made for, only its layer knows
        return {"quantizer": name}
    if not np.isfinite(made).all():
        return {"quantizer": name}
    return {"quantizer": name, "answers": [float(f"{value:.4g}") for value in made.ravel()]}
