"""The weights of a model into a file of bits."""

import contextlib
import os
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import tensorflow as tf
from larq.quantized_variable import QuantizedVariable

from siman_larq._scopes import quantized
from siman_larq.bits.codes import equal, quantizer_of, recoder, split
from siman_larq.bits.entries import STORABLE, Stored
from siman_larq.bits.file import Contents, packed
from siman_larq.bits.settings import described
from siman_larq.conversion.errors import ConversionError
from siman_larq.conversion.proof import run_model
from siman_larq.conversion.signature import inputs_of
from siman_larq.conversion.weights import own_name, owned_weights
from siman_larq.files import write_atomically
from siman_larq.filters import filter_axes

__all__ = ["save_binary", "stored_weights"]


def save_binary(model: tf.keras.Model, path: str | os.PathLike) -> None:
    r"""Writes the weights of a model into a file, binary kernels at 1 bit a weight.

    Of a binary kernel the file has the code \\(B \in \\{0, 1\\}\\) and its two levels, of the
    kernel or of each filter: the weights \\(l_0 + (l_1 - l_0) B\\), which the layer computes with.
    The latent weights, of which training goes on, are not in it; keep `model.keras` for that. All
    other weights are kept as they are, at 32 bits: batch statistics, kernels of two bits and more.
    The settings of layers that their weights do not show, such as strides, and which layer follows
    which are kept to be compared.

    So are binary kernels whose code does not make the same outputs again, as a `UserWarning` says:
    with a quantizer that codes its own code otherwise, or in a layer that looks at latent weights.
    It is tried on random inputs.

    !!! example
        ```python
        siman_larq.save_binary(model, "model.npz")
        siman_larq.load_binary(models.resnet20(), "model.npz")
        ```

    NumPy alone reads the file, and `siman-larq bits model.npz` prints what is in it. Equal weights
    give equal files.

    # Arguments
        model: A Keras model that is built.
        path: The `.npz` file, which is replaced if it is there.

    # Raises
        TypeError: for what is no Keras model.
        ValueError: for a path that does not end in `.npz`; for a model that is not built; naming
            the layer, for a binary kernel with NaN or infinite weights, and for weights of types
            that no file holds.
    """
    if not isinstance(model, tf.keras.Model):
        raise TypeError(f"save_binary: model={model!r} is no tf.keras.Model.")
    if Path(path).suffix != ".npz":
        raise ValueError(f"save_binary: path={str(path)!r} must end in .npz, as NumPy's files do.")
    if not model.built or not model.weights:
        raise ValueError(
            f"save_binary: model {model.name!r} has no weights yet; call it once on an image, "
            "model(images[:1]), or give it a tf.keras.Input."
        )
    write_atomically(Path(path), packed(Contents(stored_weights(model), *described(model))))


def stored_weights(model: tf.keras.Model) -> list[Stored]:
    """The weights of a model as `siman_larq.save_binary` writes them, with codes where it can.

    # Arguments
        model: A Keras model that is built.

    # Raises
        ValueError: as `siman_larq.save_binary`.
    """
    with quantized(False):
        weights = [_stored(owner, variable) for owner, variable in owned_weights(model)]
        weights, kept = _with_codes(model, weights)
    if kept:
        layers = "; ".join(f"{name!r} ({reason})" for name, reason in kept)
        warnings.warn(
            f"save_binary: binary kernels that stay latent weights of 32 bits: {layers}.",
            UserWarning,
            stacklevel=3,
        )
    return [weight.stored for weight in weights]


@dataclass(frozen=True)
class _Weight:
    variable: tf.Variable
    owner: tf.keras.layers.Layer
    stored: Stored


def _stored(owner: tf.keras.layers.Layer, variable: tf.Variable) -> _Weight:
    """A weight as it is."""
    name = own_name(variable)
    if not isinstance(variable, tf.Variable):
        raise ValueError(
            f"save_binary: layer {owner.name!r}, a {type(owner).__name__}, keeps what it has "
            "learned in a table, which no file of binary weights holds; give it the vocabulary "
            "when it is made, vocabulary=layer.get_vocabulary()."
        )
    dtype = variable.dtype.base_dtype
    if dtype.name not in STORABLE:
        raise ValueError(
            f"save_binary: {name!r} of layer {owner.name!r} is of dtype {dtype.name}, which no "
            "file of binary weights holds."
        )
    stored = Stored(owner.name, type(owner).__name__, name, dtype.name, variable.numpy())
    if isinstance(variable, QuantizedVariable) and variable.quantizer is not None:
        stored = replace(stored, quantizer=quantizer_of(variable))
    return _Weight(variable, owner, stored)


def _with_codes(
    model: tf.keras.Model, weights: list[_Weight]
) -> tuple[list[_Weight], list[tuple[str, str]]]:
    """Weights with codes in place of latent weights; and layers where these are kept, and why."""
    kept = []
    made = dict(enumerate(weights))
    for number, weight in made.items():
        if weight.stored.is_binary:
            found = _code(weight)
            if isinstance(found, str):
                kept.append((weight.owner.name, found))
            else:
                made[number] = replace(weight, stored=found)
    coded = [number for number in made if made[number].stored.code is not None]
    for number in _readers([made[number] for number in coded], model):
        made[coded[number]] = weights[coded[number]]
        kept.append((weights[coded[number]].owner.name, "the model looks at its latent weights"))
    return list(made.values()), kept


def _code(weight: _Weight) -> Stored | str:
    owner, variable, latent = weight.owner, weight.variable, weight.stored.values
    name = weight.stored.name
    if bad := int(np.count_nonzero(~np.isfinite(latent))):
        raise ValueError(
            f"save_binary: {bad} of the {latent.size} weights {name!r} of layer {owner.name!r} are "
            "NaN or infinite, and such weights have no code; look for a diverged training step."
        )
    if getattr(variable.quantizer, "weights", None):
        return "its quantizer has weights of its own"
    if not latent.size:
        return "it has no weights"
    recode = recoder(owner, variable)
    code = recode(latent)
    if not np.isfinite(code).all():
        raise ValueError(f"save_binary: the code {name!r} of layer {owner.name!r} has NaN in it.")
    try:
        axes = filter_axes(owner, name.removesuffix("_kernel"))
    except ValueError:  # of a kernel that is not laid out by filters
        axes = (-1,)
    found = split(code, recode, axes)
    if isinstance(found, str):
        return found
    bits, levels, axes = found
    values = np.where(bits, levels[1], levels[0]).astype(latent.dtype)
    return replace(weight.stored, values=values, code=bits, levels=levels, filter_axes=axes)


def _readers(weights: list[_Weight], model: tf.keras.Model) -> list[int]:
    """Which weights give a model other outputs once their codes are in their place."""
    if not weights:
        return []
    try:
        inputs = inputs_of(model)
        trial, _ = run_model(model, inputs, [])
    except ConversionError as error:
        warnings.warn(
            f"save_binary: it could not be tried whether model {model.name!r} gives the same "
            f"outputs with its codes in place of its latent weights. {error}",
            UserWarning,
            stacklevel=5,
        )
        return []

    def differs(numbers: list[int]) -> bool:
        with _in_place([weights[number] for number in numbers]):
            outputs = inputs.call(model, [tf.constant(value) for value in trial.inputs])
        given = [np.asarray(output) for output in tf.nest.flatten(outputs)]
        return not all(map(equal, given, trial.outputs))

    everything = list(range(len(weights)))
    if not differs(everything):
        return []
    found = [number for number in everything if differs([number])]
    rest = [number for number in everything if number not in found]
    return everything if differs(rest) else found


@contextlib.contextmanager
def _in_place(weights: list[_Weight]) -> Iterator[None]:
    """Gives variables their stored values for a while."""
    kept = [weight.variable.numpy() for weight in weights]
    try:
        for weight in weights:
            weight.variable.assign(weight.stored.values)
        yield
    finally:
        for weight, values in zip(weights, kept, strict=True):
            weight.variable.assign(values)
