"""What layers compute beside their weights: settings that no weight's shape shows."""

import json
import warnings
from collections.abc import Iterator
from typing import Any

import larq as lq
import numpy as np
import tensorflow as tf

from siman_larq._scopes import quantized
from siman_larq.bits.codes import name_of
from siman_larq.bits.entries import Described
from siman_larq.conversion.binary import leaves

__all__ = ["described", "difference"]

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
# Vocabularies and the like are no settings.
_LONGEST = 1000
# An image with values all around 0, and one of a single value.
_PROBE = np.array(
    [
        *(-3.1, -1.7, -1.0, -0.9, -0.6, -0.3, -0.1, 0.0, 0.2, 0.4, 0.5, 0.7, 1.0, 1.4, 2.3, 6.5),
        *[0.5] * 16,
    ],
    np.float32,
).reshape(2, 2, 2, 4)


def described(model: tf.keras.Model) -> list[Described]:
    """The layers of a model with their settings, in its order, once each.

    Layers that do nothing once a network is trained are left out, and so is which layer follows
    which.
    """
    with quantized(False):
        return [
            Described(layer.name, type(layer).__name__, _settings(layer))
            for layer in _layers(model)
        ]


def difference(theirs: list[Described], model: tf.keras.Model) -> str | None:
    """The first setting in which a model is not the one that was saved, in words.

    # Arguments
        theirs: The layers of the model that was saved; none are known of files that were written
            before they were kept.
        model: The model, whose weights have the names and shapes of the other's.
    """
    if not theirs:
        return None
    ours = described(model)
    for there, here in zip(theirs, ours, strict=False):
        if there.kind != here.kind:
            return f"where it has a {there.kind}, the model has layer {here.layer!r}, a {here.kind}"
        for key, value in there.settings.items():
            mine = here.settings.get(key, value)
            if not _same(value, mine):
                told = [_told(key, setting) for setting in (value, mine)]
                return f"layer {here.layer!r} has {told[0]} in it and {told[1]} in the model"
    if len(theirs) > len(ours):
        return f"the model lacks a {theirs[len(ours)].kind} that it has at the end"
    if len(theirs) < len(ours):
        return f"it lacks layer {ours[len(theirs)].layer!r}"
    return None


def _told(key: str, value: Any) -> str:
    if isinstance(value, dict) and "quantizer" in value:
        value = value["quantizer"]
    return f"{key}={value!r:.60}"


def _same(one: Any, other: Any) -> bool:
    """Quantizers are the same where they give the same values, whatever they are called."""
    if all(isinstance(value, dict) and "answers" in value for value in (one, other)):
        return bool(one["answers"] == other["answers"])
    return bool(one == other)


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
    return {key: plain for key, value in settings.items() if (plain := _plain(value)) is not ...}


def _plain(value: Any) -> Any:
    """A setting as JSON has it, of objects and functions their name; `...` for what has no form."""
    if isinstance(value, dict) and "class_name" in value:
        is_function = value["class_name"] == "function"
        return str(value.get("config") if is_function else value["class_name"])
    if isinstance(value, list | tuple):
        plain = [_plain(part) for part in value]
        return ... if ... in plain else plain
    try:
        text = json.dumps(value, allow_nan=False, default=lambda it: np.asarray(it).tolist())
    except (TypeError, ValueError):
        return ...
    return json.loads(text) if len(text) <= _LONGEST else ...


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
