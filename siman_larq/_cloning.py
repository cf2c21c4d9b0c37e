"""Copies of models, layer by layer, with other layers where need be."""

import warnings
from collections.abc import Callable
from typing import Any

import tensorflow as tf

__all__ = ["LayerPairs", "clone_model"]

LayerPairs = list[tuple[tf.keras.layers.Layer, tf.keras.layers.Layer]]


def clone_model(
    model: tf.keras.Model,
    copy_layer: Callable[[tf.keras.layers.Layer], tf.keras.layers.Layer],
    purpose: str,
    error: type[ValueError],
    input_tensors: Any = None,
) -> tuple[tf.keras.Model, LayerPairs]:
    """Copies the graph of a model, with other layers if need be; weights are fresh.

    What the model uses in several places, also of models within it, has one copy, and what is
    frozen stays so.

    # Arguments
        model: A functional or Sequential model, also with models within it.
        copy_layer: Gives the copy of a layer; may raise `error`.
        purpose: The first word of what messages say, such as `"Conversion"`.
        error: Raised for models that cannot be copied.
        input_tensors: Keras tensors to build the copy upon, in place of new inputs.

    # Returns
        The copy, and all pairs of a layer and its copy.
    """
    if not model.built:
        raise error(
            f"Model {model.name!r} is not built; give it an input shape, for example with a "
            "tf.keras.Input as its first layer."
        )
    copies: dict[int, tf.keras.layers.Layer] = {}
    pairs: LayerPairs = []

    def copy(layer: tf.keras.layers.Layer) -> tf.keras.layers.Layer:
        if id(layer) not in copies:
            if isinstance(layer, tf.keras.Model):
                copies[id(layer)] = clone(layer)
            else:
                copies[id(layer)] = copy_layer(layer)
                pairs.append((layer, copies[id(layer)]))
        return copies[id(layer)]

    def clone(part: tf.keras.Model, inputs: Any = None) -> tf.keras.Model:
        try:
            return tf.keras.models.clone_model(part, inputs, clone_function=copy)
        except (ValueError, NotImplementedError) as reason:
            if isinstance(reason, error):
                raise
            raise error(
                f"Model {part.name!r} cannot be copied layer by layer ({reason}). {purpose} needs "
                "a functional or Sequential model: build it from layers in place of a subclass."
            ) from reason

    with warnings.catch_warnings():
        # About initializers that are functions, as QuickNet's.
        warnings.filterwarnings("ignore", "The `keras.initializers.serialize")
        copied = clone(model, input_tensors)
    copies[id(model)] = copied
    _freeze(model, copies)
    return copied, pairs


def _freeze(model: tf.keras.Model, copies: dict[int, tf.keras.layers.Layer]) -> None:
    """Gives every copy, and what is within it, the flag `trainable` of its layer."""
    pairs = []
    for part in [model, *model.submodules]:
        if made := copies.get(id(part)):
            pairs.append((part, made))
            theirs, ours = (
                [inner for inner in whole.submodules if isinstance(inner, tf.keras.layers.Layer)]
                for whole in (part, made)
            )
            # Those of binary layers may have other quantizers, which have no weights.
            if len(theirs) == len(ours) and not isinstance(part, tf.keras.Model):
                pairs += zip(theirs, ours, strict=True)
    for _ in pairs:
        # A flag is passed on to all that is within: once the outer ones are right, the inner ones.
        wrong = [pair for pair in pairs if pair[0].trainable != pair[1].trainable]
        for layer, made in wrong:
            made.trainable = layer.trainable
        if not wrong:
            break
