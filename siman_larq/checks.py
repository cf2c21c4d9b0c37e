"""Checks of a model before it is trained."""

from typing import Any

import larq as lq
import tensorflow as tf

from siman_larq._private import decays, is_built
from siman_larq.layers import SiMaNConv2D

__all__ = ["check_no_l2"]

_KERNELS = ("kernel", "depthwise", "pointwise")
_L1_L2 = (tf.keras.regularizers.L1, tf.keras.regularizers.L2, tf.keras.regularizers.L1L2)
# Ftrl's, which it applies to all weights.
_ALWAYS = (
    "l1_regularization_strength",
    "l2_regularization_strength",
    "l2_shrinkage_regularization_strength",
)


def check_no_l2(model: tf.keras.Model, optimizer: Any = None) -> None:
    """Makes sure that no penalty pulls binary kernels, or their alpha, towards 0.

    The method trains them without: the paper says that l2 makes latent weights lean Laplacian, and
    their code then has less than one bit of entropy. A code by the median keeps its bit whatever
    the weights are; but in a study without a clamp l2 cost 1.3 points.

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
            decay of the optimizer as it is now, with the cure. Keras's optimizers forget what
            they were told to spare when they are saved; `CoupledDecaySGD` does not. Also for a
            model that is not built, whose weights cannot be looked at.
        TypeError: if `model` is not a Keras model, or `optimizer` no optimizer.

    # References
        - [SiMaN: Sign-to-Magnitude Network Binarization](https://arxiv.org/abs/2102.07981)
    """
    if not isinstance(model, tf.keras.Model):
        raise TypeError(f"check_no_l2: model={model!r} is no tf.keras.Model.")
    if optimizer is None:
        optimizer = getattr(model, "optimizer", None)
    elif isinstance(optimizer, type) or not hasattr(optimizer, "apply_gradients"):
        raise TypeError(
            f"check_no_l2: optimizer={optimizer!r} is no optimizer; give the instance that will "
            "train the model, or compile the model with it and leave it out here."
        )
    trained = {v.ref() for v in model.trainable_variables} if model.built else set()
    findings: list[str] = []
    cures: dict[str, None] = {}
    for layer in model.submodules:
        if not isinstance(layer, tf.keras.layers.Layer):
            continue
        for found in _regularizers(layer):
            findings.append(f"{layer.name}: {found}")
            cures["Leave the kernel_regularizer of these layers out."] = None
        for variable in _binary_variables(layer):
            part = _optimizer_of(optimizer, variable)
            if variable.ref() in trained and (decay := _decay(part, variable, model)):
                name = variable.name.split("/")[-1].split(":")[0]
                findings.append(f"{layer.name}: {type(part).__name__}({decay}) on {name}")
                cures[_cure(part)] = None
    if findings:
        raise ValueError(
            "Binary kernels are penalised. The method trains them without l2, of which the paper "
            "says that it makes latent weights Laplacian:\n  "
            + "\n  ".join(findings)
            + "\n"
            + " ".join(cures)
        )
    if not model.built:
        raise ValueError(
            f"check_no_l2: model {model.name!r} is not built, so it has no weights to look at; "
            "call it once on an image, model(images[:1]), or give it a tf.keras.Input."
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


def _binary_variables(layer: tf.keras.layers.Layer) -> list[tf.Variable]:
    """A layer's own binary kernels, and the alpha of SiMaNConv2D."""
    # A layer that holds layers repeats their weights, so only its own attributes count.
    own: list[Any] = []
    for value in vars(layer).values():
        own += value if isinstance(value, list | tuple) else [value]
    variables = {
        value.ref(): value
        for value in own
        if isinstance(value, tf.Variable) and getattr(value, "precision", None) == 1
    }
    scales = [layer.alpha] if isinstance(layer, SiMaNConv2D) and layer.built else []
    return [*variables.values(), *scales]


def _optimizer_of(optimizer: Any, variable: tf.Variable) -> Any:
    """The optimizer that moves a variable, of those that hold others."""
    while hasattr(optimizer, "inner_optimizer"):
        optimizer = optimizer.inner_optimizer
    if isinstance(optimizer, lq.optimizers.CaseOptimizer):
        for claims, part in optimizer.pred_opt_pairs:
            if claims(variable):
                return _optimizer_of(part, variable)
        return _optimizer_of(optimizer.default, variable)
    return optimizer


def _decay(optimizer: Any, variable: tf.Variable, model: tf.keras.Model) -> str | None:
    """The setting with which an optimizer decays a variable."""
    settings = list(_ALWAYS)
    if hasattr(optimizer, "excluded"):
        spared = optimizer.excluded(model.trainable_variables)
        if not any(one is variable for one in spared):
            settings.append("l2")
        elif getattr(variable, "precision", 32) == 1:
            settings.append("binary_l2")
    if decays(optimizer, variable):
        settings.append("weight_decay")
    for setting in settings:
        if strength := getattr(optimizer, setting, None):
            return f"{setting}={float(strength):g}"
    return None


def _cure(optimizer: Any) -> str:
    name = type(optimizer).__name__
    if getattr(optimizer, "binary_l2", 0):
        return f"Leave binary_l2 out of {name}."
    if hasattr(optimizer, "exclude") and optimizer.l2:
        return (
            f"Give {name} spares_binary=True, or call "
            "optimizer.exclude(siman_larq.training.binary_variables(model))."
        )
    if getattr(optimizer, "l2", 0):
        return f"Leave l2 out of {name}."
    if any(getattr(optimizer, setting, None) for setting in _ALWAYS):
        return f"{name} can spare no weights; use another optimizer."
    call = "optimizer.exclude_from_weight_decay(var_list=[...]) with their kernels and alpha"
    if is_built(optimizer):
        return (
            f"This {name} is built, and one that was loaded has forgotten what it was told to "
            f"spare: compile the model with a new one, after {call}."
        )
    return f"For weight decay call {call}."
