"""SiMaN in a model that was built with other quantizers."""

import reprlib
import warnings
from typing import Any

import larq as lq
import tensorflow as tf

from siman_larq._cloning import clone_model
from siman_larq._larq_zoo import savable_copy
from siman_larq._scopes import quantized
from siman_larq.conversion.binary import binary_layers, is_binary, lacks_binary_input, why_float
from siman_larq.math import Threshold
from siman_larq.zoo.replacements import (
    KEEP,
    LEVELS,
    constraint_maker,
    input_maker,
    kernel_maker,
    no_constraint,
)

__all__ = ["BinarizeError", "BinarizeWarning", "Binarizer", "binarize"]

_KERNELS = ("kernel", "depthwise", "pointwise")


class BinarizeError(ValueError):
    """A model that `binarize` cannot take."""


class BinarizeWarning(UserWarning):
    """What `binarize` changed beyond kernel quantizers, and what will not be 1-bit."""


def binarize(
    model: tf.keras.Model,
    levels: tuple[float, float] = LEVELS,
    threshold: Threshold = "median",
    *,
    kernel_quantizer: Any = None,
    kernel_constraint: Any = "percentile_clip",
    input_quantizer: Any = None,
    input_tensors: Any = None,
) -> tf.keras.Model:
    """Copies a model with SiMaN's magnitude code in all of its binary kernels.

    Every kernel whose quantizer has precision 1 gets a quantizer and a constraint of its own;
    names and latent weights are kept, what is shared stays shared and what is frozen, frozen. A
    `BinarizeWarning` tells of all else that changes:

    - Regularizers of binary kernels go, as in the paper; see `siman_larq.check_no_l2`.
    - Layers with binary kernels on real inputs (first layers; LCE has no op for these) get real
      weights, as in the paper, without their quantizer and constraint. Inputs are real where
      neither the layer nor the one before it quantizes them.
    - Input quantizers of more than 1 bit, which LCE has no op for either, give way to
      `SampleSign`.
    - Binary layers that LCE leaves float in any case, such as `QuantDense`, are named.

    !!! example
        ```python
        model = siman_larq.zoo.binarize(larq_zoo.literature.BiRealNet(weights=None))
        ```

    !!! note
        Weights trained under another quantizer are a starting point, no trained SiMaN network:
        their signs are not what the new code reads. An optimizer, losses and metrics are not
        copied; compile the copy. Metrics of quantizers follow `larq.context.metrics_scope` at
        the time of the call.

    # Arguments
        model: A functional or Sequential model with layers of Larq, built; it is left as it is.
        levels: Those of `SiMaNQuantizer`; not its default, but what the official code uses.
        threshold: That of `SiMaNQuantizer`.
        kernel_quantizer: Another 1-bit quantizer (name, dict or instance), of which every kernel
            gets a copy, in place of `SiMaNQuantizer(levels, threshold)`, which `None` and
            `"siman"` stand for.
        kernel_constraint: The constraint of binary kernels (name, dict, instance or `None`), of
            which every kernel gets a copy.
        input_quantizer: `None`: 1-bit input quantizers stay and others become `SampleSign`.
            `"keep"`: all stay. Otherwise a 1-bit quantizer (name, dict or instance) whose copies
            replace all input quantizers of binary layers.
        input_tensors: What `tf.keras.Input` returned, to build the copy upon it in place of new
            inputs.

    # Returns
        A new model.

    # Raises
        BinarizeError: a `ValueError`, for models that are not built, subclassed models, models
            without binary kernels, and binary layers hidden within wrappers or other layers.
        TypeError: if `model` is no Keras model, or a class is given in place of an instance.
        ValueError: for other values, naming the argument.

    # References
        - [SiMaN: Sign-to-Magnitude Network Binarization](https://arxiv.org/abs/2102.07981)
    """
    binarizer = Binarizer(levels, threshold, kernel_quantizer, kernel_constraint, input_quantizer)
    return binarizer(model, input_tensors)


class Binarizer:
    """The arguments of `binarize`, checked before there is a model."""

    def __init__(
        self,
        levels: Any,
        threshold: Any,
        kernel_quantizer: Any,
        kernel_constraint: Any,
        input_quantizer: Any,
    ) -> None:
        self.make_quantizer = kernel_maker(levels, threshold, kernel_quantizer)
        self.make_constraint = constraint_maker(kernel_constraint)
        self.make_input_quantizer, self.replaces = input_maker(input_quantizer)

    def __call__(self, model: tf.keras.Model, input_tensors: Any = None) -> tf.keras.Model:
        if not isinstance(model, tf.keras.Model):
            raise TypeError(f"binarize: model={model!r} is no tf.keras.Model.")
        _check_reachable(model)
        if not binary_layers(model):
            raise BinarizeError(
                f"Model {model.name!r} has no binary kernel (a quantizer of precision 1), so there "
                "is nothing to binarize; build it from Larq's layers with a kernel_quantizer such "
                "as 'ste_sign'."
            )
        notes = _Notes()

        def copy(layer: tf.keras.layers.Layer) -> tf.keras.layers.Layer:
            return self._copy_layer(layer, notes)

        if input_tensors is not None and model.inputs:
            input_tensors = _checked_tensors(model, input_tensors)
        made, pairs = clone_model(model, copy, "binarize", BinarizeError, input_tensors)
        with quantized(False):
            for layer, copied in pairs:
                _check_weights(layer, copied)
                copied.set_weights(layer.get_weights())
        notes.warn(model.name, [copied for _, copied in pairs])
        return made

    def _copy_layer(self, layer: tf.keras.layers.Layer, notes: "_Notes") -> tf.keras.layers.Layer:
        kernels = [kernel for kernel in _KERNELS if _bits(layer, f"{kernel}_quantizer") == 1]
        if not kernels:
            return savable_copy(layer)
        config = layer.get_config()
        own_input_quantizer = getattr(layer, "input_quantizer", None)
        if own_input_quantizer is None and not _follows_quantizer(layer):
            notes.real.append(layer.name)
            for kernel in kernels:
                config[f"{kernel}_quantizer"] = config[f"{kernel}_constraint"] = None
            return type(layer).from_config(config)
        if own_input_quantizer is not None and self.replaces == "all":
            config["input_quantizer"] = self.make_input_quantizer()
        elif own_input_quantizer is not None and lacks_binary_input(layer) and self.replaces:
            config["input_quantizer"] = self.make_input_quantizer()
            notes.wide.append(f"{layer.name} ({_precision(layer)})")
        for kernel in kernels:
            config[f"{kernel}_quantizer"] = self.make_quantizer()
            # Without any, Larq would warn of starved weights, which SiMaN's gradient knows not.
            config[f"{kernel}_constraint"] = no_constraint
            if config.get(f"{kernel}_regularizer") is not None:
                config[f"{kernel}_regularizer"] = None
                notes.regularized.append(layer.name)
        copied = type(layer).from_config(config)
        for kernel in kernels:
            setattr(copied, f"{kernel}_constraint", self.make_constraint())
        return copied


def _check_weights(layer: tf.keras.layers.Layer, copied: tf.keras.layers.Layer) -> None:
    if [weight.shape for weight in layer.weights] != [weight.shape for weight in copied.weights]:
        raise BinarizeError(
            f"Layer {layer.name!r} has {len(layer.weights)} weights and its copy "
            f"{len(copied.weights)}, since a quantizer with weights of its own is replaced; make "
            "the layer with a quantizer that has none, or keep it with "
            f"input_quantizer={KEEP!r}."
        )


class _Notes:
    """Names of layers to warn about."""

    def __init__(self) -> None:
        self.regularized: list[str] = []
        self.real: list[str] = []
        self.wide: list[str] = []

    def warn(self, model: str, layers: list[tf.keras.layers.Layer]) -> None:
        floats = [layer for layer in layers if is_binary(layer) and _stays_float(layer)]
        if self.regularized:
            _warn(
                f"Model {model!r}: the kernel regularizers of {', '.join(self.regularized)} are "
                "left out, since the method trains latent weights without a penalty. Regularizers "
                "of other weights stay."
            )
        if self.real:
            _warn(
                f"Model {model!r}: {', '.join(self.real)} had binary kernels but no input "
                "quantizer; Larq Compute Engine has no 1-bit op for real inputs, so now their "
                "weights are real, as in the paper's first layers. For 1-bit layers give them an "
                "input_quantizer."
            )
        if self.wide:
            _warn(
                f"Model {model!r}: the input quantizers of {', '.join(self.wide)} became "
                "'sample_sign', because Larq Compute Engine packs 1-bit inputs only. To keep them, "
                f"pass input_quantizer={KEEP!r}; these layers then stay float in a TFLite file."
            )
        if floats:
            reasons = "\n  ".join(f"{layer.name}: {why_float(layer)}" for layer in floats)
            _warn(
                f"Model {model!r}: these binary layers stay float in a TFLite file:\n  {reasons}\n"
                f"siman_larq.convert takes allow_float={[layer.name for layer in floats]}."
            )


def _warn(message: str) -> None:
    warnings.warn(message, BinarizeWarning, stacklevel=5)


def _bits(layer: tf.keras.layers.Layer, quantizer: str) -> int | None:
    return getattr(getattr(layer, quantizer, None), "precision", None)


def _precision(layer: tf.keras.layers.Layer) -> str:
    bits = _bits(layer, "input_quantizer")
    return "not 1-bit" if bits is None else f"{bits}-bit"


def _stays_float(layer: tf.keras.layers.Layer) -> bool:
    if not isinstance(layer, lq.layers.QuantConv2D):
        return True
    # Without an input quantizer the layer gets its bits from another layer.
    return layer.input_quantizer is not None and lacks_binary_input(layer)


def _follows_quantizer(layer: tf.keras.layers.Layer) -> bool:
    """Whether all inputs of a layer come from a quantizer that is a layer or an activation."""
    sources = [parent.layer for node in layer.inbound_nodes for parent in node.parent_nodes]
    return bool(sources) and all(
        _bits(source, "activation") == 1
        or (isinstance(source, lq.quantizers.Quantizer) and source.precision == 1)
        for source in sources
    )


def _check_reachable(model: tf.keras.Model) -> None:
    for layer in model.layers:
        if isinstance(layer, tf.keras.Model):
            _check_reachable(layer)
            continue
        hidden = [part.name for part in layer.submodules if is_binary(part)]
        if hidden:
            raise BinarizeError(
                f"Layer {layer.name!r}, a {type(layer).__name__}, holds binary layers {hidden}, "
                "and binarize does not reach into it; use these layers in the model directly, or "
                "give them kernel_quantizer='siman_pm1' where they are made."
            )


def _checked_tensors(model: tf.keras.Model, input_tensors: Any) -> list[Any]:
    tensors = tf.nest.flatten(input_tensors)
    if not all(map(_is_input, tensors)):
        raise TypeError(
            f"input_tensors={reprlib.repr(input_tensors)} are not what "
            "tf.keras.Input returns; give one for every input of the model. To build upon other "
            "tensors, call the copy on them."
        )
    given = [tensor.shape for tensor in tensors]
    taken = [tensor.shape for tensor in model.inputs]
    if len(given) != len(taken) or not all(map(tf.TensorShape.is_compatible_with, given, taken)):
        raise ValueError(
            f"input_tensors={input_tensors!r} do not fit: their shapes are {given}, and model "
            f"{model.name!r} takes {taken}."
        )
    return tensors


def _is_input(tensor: Any) -> bool:
    is_keras = tf.is_tensor(tensor) and tf.keras.backend.is_keras_tensor(tensor)
    return is_keras and isinstance(tensor.node.layer, tf.keras.layers.InputLayer)
