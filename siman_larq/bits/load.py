"""A file of bits back into a model."""

import os
import re

import tensorflow as tf
from larq.quantized_variable import QuantizedVariable

from siman_larq._scopes import quantized
from siman_larq.bits.codes import equal, quantizer_of, recoder
from siman_larq.bits.difference import difference
from siman_larq.bits.entries import Stored
from siman_larq.bits.errors import BinaryFileError
from siman_larq.bits.file import contents
from siman_larq.conversion.weights import own_name, owned_weights

__all__ = ["load_binary"]

_Owned = tuple[tf.keras.layers.Layer, tf.Variable]


def load_binary(model: tf.keras.Model, path: str | os.PathLike) -> None:
    """Gives a model the weights of a file of `siman_larq.save_binary`.

    The model's outputs are then those of the model that was saved, bit for bit on the same
    machine. Its binary kernels hold levels in place of latent weights, which quantizers pass on:
    converting and verifying work as ever, but training would begin from weights that all have the
    same magnitude.

    # Arguments
        model: A Keras model of the same architecture, built. Layers that Keras named may have other
            numbers at the end of their names. What a `call` of your own computes is not compared.
        path: The file.

    # Raises
        TypeError: for what is no Keras model.
        ValueError: for a model that is not built.
        FileNotFoundError: where there is no file.
        BinaryFileError: for a file that is damaged, was written by a newer version, or is none;
            naming the layer, where a layer has another name, class, shape or setting, follows
            others, is missing or too many, or has a quantizer that gives other weights. The model
            is then unchanged.
    """
    if not isinstance(model, tf.keras.Model):
        raise TypeError(f"load_binary: model={model!r} is no tf.keras.Model.")
    if not model.built:
        raise ValueError(
            f"load_binary: model {model.name!r} has no weights yet; call it once on an image, "
            "model(images[:1]), or give it a tf.keras.Input."
        )
    saved = contents(path)
    stored = saved.weights
    with quantized(False):
        owned = owned_weights(model)
        try:
            _check_names(stored, owned)
            for weight, (owner, variable) in zip(stored, owned, strict=True):
                _check(weight, owner, variable)
            if found := difference(saved, model):
                raise BinaryFileError(found)
        except BinaryFileError as error:
            raise BinaryFileError(
                f"{path} does not fit model {model.name!r}, which is unchanged: {error}; build it "
                "as the one that was saved."
            ) from None
        for weight, (_, variable) in zip(stored, owned, strict=True):
            variable.assign(weight.values.astype(variable.dtype.base_dtype.as_numpy_dtype))
        for owner, _ in owned:
            # Normalization computes with what it makes of its weights.
            getattr(owner, "finalize_state", lambda: None)()


def _check_names(stored: list[Stored], owned: list[_Owned]) -> None:
    for weight, (owner, variable) in zip(stored, owned, strict=False):
        ours = (owner.name, type(owner).__name__, own_name(variable))
        theirs = (weight.layer, weight.kind, weight.name)
        if (_unnumbered(ours[0]), *ours[1:]) != (_unnumbered(theirs[0]), *theirs[1:]):
            raise BinaryFileError(f"where it has {_told(*theirs)}, the model has {_told(*ours)}")
    if len(stored) > len(owned):
        weight = stored[len(owned)]
        theirs = (weight.layer, weight.kind, weight.name)
        raise BinaryFileError(f"the model lacks {_told(*theirs)}")
    if len(stored) < len(owned):
        owner, variable = owned[len(stored)]
        ours = (owner.name, type(owner).__name__, own_name(variable))
        raise BinaryFileError(f"it lacks {_told(*ours)}")
    names = [weight.layer for weight in stored], [owner.name for owner, _ in owned]
    if names[0] != names[1] and set(names[0]) == set(names[1]):
        first = next(i for i, pair in enumerate(zip(*names, strict=True)) if len(set(pair)) > 1)
        raise BinaryFileError(
            f"its layers are those of the model in another order, with {names[0][first]!r} where "
            f"the model has {names[1][first]!r}"
        )


def _told(layer: str, kind: str, name: str) -> str:
    return f"{name!r} of layer {layer!r} ({kind})"


def _unnumbered(name: str) -> str:
    """Keras numbers the layers it names, and begins where it stands in a process."""
    return re.sub(r"_\d+$", "", name)


def _check(weight: Stored, owner: tf.keras.layers.Layer, variable: tf.Variable) -> None:
    what = f"{weight.name!r} of layer {owner.name!r}"
    shape, dtype = variable.shape, variable.dtype.base_dtype.name
    for kind, theirs, ours, fits in (
        # Tables that learn how long they are have no fixed size.
        ("shape", weight.shape, tuple(shape), shape.is_compatible_with(weight.shape)),
        ("dtype", weight.dtype, dtype, weight.dtype == dtype),
    ):
        if not fits:
            raise BinaryFileError(f"{what} is of {kind} {theirs} in it and {ours} in the model")
    is_quantized = isinstance(variable, QuantizedVariable) and variable.quantizer is not None
    if weight.code is None:
        ours = quantizer_of(variable) if is_quantized else None
        if ours != weight.quantizer:
            raise BinaryFileError(
                f"{what} has {_quantizer(weight.quantizer)} in it and {_quantizer(ours)} in the "
                "model"
            )
    elif is_quantized:
        given = weight.values.astype(variable.dtype.base_dtype.as_numpy_dtype)
        if not equal(recoder(owner, variable)(given), given):
            low, high = given.min(), given.max()
            raise BinaryFileError(
                f"{what} has levels from {low:g} to {high:g} in it, of which the model's "
                f"{quantizer_of(variable)[0]} makes other weights"
            )


def _quantizer(quantizer: tuple[str, int] | None) -> str:
    return (
        "no quantizer"
        if quantizer is None
        else f"the quantizer {quantizer[0]} ({quantizer[1]} bits)"
    )
