"""Finds a model's binary layers and says what may keep one from packing."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import larq as lq
import numpy as np
import tensorflow as tf

from siman_larq.conversion.errors import ConversionError

__all__ = ["BinaryLayer", "binary_layers", "binary_weight_count", "weight_quantizers"]

_WEIGHTS = ("kernel", "depthwise", "pointwise")

_NO_ONE_BIT_OP = (
    "LCE has no 1-bit op for {kind}; use a QuantConv2D in its place, or keep it float with "
    "allow_float"
)


@dataclass(frozen=True, eq=False)
class BinaryLayer:
    """A layer with 1-bit weights.

    # Attributes
        name: Its name; inside nested models with theirs before it, as in `"encoder/conv"`.
        layer: The layer.
        wrapper: The wrapper or composite layer around it, if any.
    """

    name: str
    layer: tf.keras.layers.Layer
    wrapper: tf.keras.layers.Layer | None = None

    def kernels(self) -> list[np.ndarray]:
        """The coded 1-bit weights."""
        with lq.context.quantized_scope(True):
            return [variable.numpy() for variable in self._latent()]

    def check_finite(self) -> None:
        """Raises a `ConversionError` for NaN and infinite latent weights, which have no code."""
        with lq.context.quantized_scope(False):
            latent = [variable.numpy() for variable in self._latent()]
        bad = sum(int(np.count_nonzero(~np.isfinite(values))) for values in latent)
        if bad:
            raise ConversionError(
                f"convert: layer '{self.name}': {bad} of {sum(v.size for v in latent)} kernel "
                "weights are NaN or infinite, and such weights have no code. Look for a diverged "
                "training step (lower the learning rate) or a damaged weights file."
            )

    def obstacle(self) -> str | None:
        """Why LCE leaves this layer float and the cure, as far as the layer alone tells."""
        if self.wrapper is not None:
            return (
                f"it lies inside the layer '{self.wrapper.name}' "
                f"({type(self.wrapper).__name__}), where its kernel cannot be baked; use the "
                "binary layer directly in the functional or Sequential model"
            )
        if isinstance(self.layer, lq.layers.QuantDense):
            return (
                "LCE has no 1-bit op for Dense; use a 1x1 QuantConv2D on (1, 1, features) maps "
                "in its place"
            )
        if not isinstance(self.layer, lq.layers.QuantConv2D):
            kind = type(self.layer).__name__.removeprefix("Quant")
            return _NO_ONE_BIT_OP.format(kind=kind)
        return self._convolution_obstacle()

    def _convolution_obstacle(self) -> str | None:
        if self.layer.data_format != "channels_last":
            return "LCE converts data_format='channels_last' only"
        quantizer = self.layer.input_quantizer
        precision = getattr(quantizer, "precision", None)
        if quantizer is not None and precision not in (None, 1):
            return (
                f"its input quantizer {type(quantizer).__name__} gives {precision}-bit "
                "activations; use a 1-bit one, such as input_quantizer='sample_sign'"
            )
        if quantizer is None:
            return "its input is not binary; give it input_quantizer='sample_sign'"
        kernel = np.abs(self.kernels()[0])
        if not ((kernel > 0) & np.isclose(kernel, kernel.max((0, 1, 2)), rtol=5e-3)).all():
            return (
                "its kernel quantizer does not give one magnitude, other than zero, per filter; "
                "use one that gives -1 and 1 or 0 and 1"
            )
        return None

    def _latent(self) -> list[tf.Variable]:
        return [
            getattr(self.layer, _variable(prefix))
            for prefix, quantizer in weight_quantizers(self.layer).items()
            if getattr(quantizer, "precision", None) == 1
        ]


def _variable(prefix: str) -> str:
    return prefix if prefix == "kernel" else f"{prefix}_kernel"


def weight_quantizers(layer: Any) -> dict[str, Any]:
    """The quantizers of a layer's weights by the prefix of their argument's name."""
    found = {prefix: getattr(layer, f"{prefix}_quantizer", None) for prefix in _WEIGHTS}
    return {prefix: quantizer for prefix, quantizer in found.items() if quantizer is not None}


def binary_layers(model: tf.keras.Model) -> list[BinaryLayer]:
    """All layers of a model with 1-bit weights, those in nested models and wrappers too."""
    unique = {id(found.layer): found for found in reversed(list(_walk(model, "")))}
    return list(reversed(unique.values()))


def _walk(model: tf.keras.Model, prefix: str) -> Iterator[BinaryLayer]:
    for layer in model.layers:
        if isinstance(layer, tf.keras.Model):
            yield from _walk(layer, f"{prefix}{layer.name}/")
        elif _is_binary(layer):
            yield BinaryLayer(prefix + layer.name, layer)
        else:
            for part in filter(_is_binary, layer.submodules):
                yield BinaryLayer(f"{prefix}{layer.name}/{part.name}", part, wrapper=layer)


def _is_binary(layer: Any) -> bool:
    return any(getattr(q, "precision", None) == 1 for q in weight_quantizers(layer).values())


def binary_weight_count(layers: list[BinaryLayer]) -> int:
    """Number of 1-bit weights."""
    return sum(kernel.size for layer in layers for kernel in layer.kernels())
