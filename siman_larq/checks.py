"""Checks of a model before it is trained."""

from typing import Any

import tensorflow as tf

from siman_larq._private import decays
from siman_larq.layers import SiMaNConv2D

__all__ = ["check_no_l2"]

_KERNELS = ("kernel", "depthwise", "pointwise")
_L1_L2 = (tf.keras.regularizers.L1, tf.keras.regularizers.L2, tf.keras.regularizers.L1L2)


def check_no_l2(model: tf.keras.Model, optimizer: Any = None) -> None:
    """Makes sure that no penalty pulls binary kernels, or their alpha, towards 0.

    l2 on latent weights makes them lean Laplacian, and then the magnitude code has less than one
    bit of entropy.

    !!! example
        ```python
        model.compile(tf.keras.optimizers.AdamW(1e-3, weight_decay=1e-4), loss)
        check_no_l2(model)  # raises, naming every binary layer
        ```

    # Arguments
        model: A Keras model.
        optimizer: The optimizer that will train it; that of a compiled model if `None`.

    # Raises
        ValueError: naming the layers whose binary kernel has a regularizer, or is subject to the
            optimizer's weight decay, with the cure.
        TypeError: if `model` is not a Keras model.

    # References
        - [SiMaN: Sign-to-Magnitude Network Binarization](https://arxiv.org/abs/2102.07981)
    """
    if not isinstance(model, tf.keras.Model):
        raise TypeError(f"check_no_l2: model={model!r} is no tf.keras.Model.")
    optimizer = optimizer or getattr(model, "optimizer", None)
    while hasattr(optimizer, "inner_optimizer"):
        optimizer = optimizer.inner_optimizer
    layers = [layer for layer in model.submodules if isinstance(layer, tf.keras.layers.Layer)]
    findings = []
    for layer in layers:
        findings += [f"{layer.name}: {found}" for found in _regularizers(layer)]
        findings += [f"{layer.name}: {found}" for found in _decay(layer, optimizer)]
    if findings:
        raise ValueError(
            "Binary kernels are penalised; that drives their latent weights towards a Laplacian "
            "distribution and the code below one bit of entropy:\n  "
            + "\n  ".join(findings)
            + "\nLeave the kernel_regularizer of these layers out; for weight decay call "
            "optimizer.exclude_from_weight_decay(var_list=[...]) with their kernels and alpha."
        )


def _regularizers(layer: tf.keras.layers.Layer) -> list[str]:
    found = []
    for kernel in _KERNELS:
        regularizer = getattr(layer, f"{kernel}_regularizer", None)
        precision = getattr(getattr(layer, f"{kernel}_quantizer", None), "precision", None)
        if precision != 1 or regularizer is None:
            continue
        name = getattr(regularizer, "__name__", type(regularizer).__name__)
        if isinstance(regularizer, _L1_L2):
            strengths = [float(vars(regularizer).get(norm, 0)) for norm in ("l1", "l2")]
            if not any(strengths):
                continue
            # Kept in float32: six digits are those that were given.
            name += "(" + ", ".join(f"{strength:g}" for strength in strengths if strength) + ")"
        found.append(f"{kernel}_regularizer={name}")
    return found


def _decay(layer: tf.keras.layers.Layer, optimizer: Any) -> list[str]:
    decay = getattr(optimizer, "weight_decay", None)
    if not decay:
        return []
    # A layer that holds layers repeats their weights, so only the layer's own attributes count.
    variables = [
        value
        for value in vars(layer).values()
        if getattr(value, "precision", None) == 1 and isinstance(value, tf.Variable)
    ]
    if isinstance(layer, SiMaNConv2D) and layer.built:
        variables.append(layer.alpha)
    name = type(optimizer).__name__
    return [
        f"{name}(weight_decay={float(decay):g}) on {variable.name.split('/')[-1].split(':')[0]}"
        for variable in variables
        if decays(optimizer, variable)
    ]
