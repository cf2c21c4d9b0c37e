"""Clones models with their codes in place of latent weights and quantizers."""

from typing import Any

import larq as lq
import numpy as np
import tensorflow as tf

from siman_larq.conversion.errors import ConversionError
from siman_larq.conversion.layers import binary_layers, weight_quantizers
from siman_larq.conversion.rewrite import Packable
from siman_larq.quantizers import SampleSign

__all__ = ["bake", "baked_clone"]


def bake(model: tf.keras.Model) -> tf.keras.Model:
    r"""Clones a model with its codes as weights, so that LCE packs every binary convolution.

    LCE packs a kernel only if it is a constant of values \\(\pm s_f\\), one magnitude per filter.
    Quantizers in the graph hinder that: large kernels do not get folded into constants, and
    kernels of zeros and ones are never packed. In the clone

    - quantizers of weights are `larq.quantizers.NoOp`, and weights are what they gave;
    - a convolution with \\(B \in \\{0, 1\\}\\) is computed as
      \\[
      a * B = \tfrac{1}{2} \left( a * (2B - 1) + a * 1 \right)
      \\]
      which are two 1-bit convolutions, the second with a single filter;
    - `siman_larq.SampleSign` gives 1 at zero, as one bit has no third value;
    - layers compute in float32 and have no constraints and regularizers on coded weights.

    !!! example
        ```python
        baked = siman_larq.conversion.bake(model)
        ```

    # Arguments
        model: A functional or Sequential Keras model. It is not changed.

    # Returns
        A Keras model that gives the same outputs, apart from activations that equal their
        sample's mean exactly.

    # Raises
        ConversionError: for subclassed models, layers that cannot be made from their config, and
            kernels with NaN or infinite weights.
    """
    return baked_clone(model, rewrite_small_maps=False)


def baked_clone(model: tf.keras.Model, rewrite_small_maps: bool) -> tf.keras.Model:
    """As `bake`; optionally with zero padding on small maps rewritten (see `Packable`)."""
    if not isinstance(model, tf.keras.Model):
        raise ConversionError(f"convert: {model!r} is not a Keras model.")
    if not model.built:
        raise ConversionError(
            f"convert: the model '{model.name}' is not built; give it an input shape, for example "
            "with a tf.keras.layers.Input layer."
        )
    for found in binary_layers(model):
        found.check_finite()
    policy = tf.keras.mixed_precision.global_policy()
    # For layers whose config holds no policy, and for the clone itself.
    tf.keras.mixed_precision.set_global_policy("float32")
    try:
        return _Baker(rewrite_small_maps).clone(model)
    finally:
        tf.keras.mixed_precision.set_global_policy(policy)


class _Baker:
    """Clones a model and the models in it; a layer that several share is cloned once."""

    def __init__(self, rewrite_small_maps: bool) -> None:
        self._rewrite_small_maps = rewrite_small_maps
        self._clones: dict[int, Any] = {}

    def clone(self, model: tf.keras.Model) -> tf.keras.Model:
        copied: list[tuple[Any, Any]] = []

        def clone_function(layer: Any) -> Any:
            if id(layer) not in self._clones:
                if isinstance(layer, tf.keras.Model):
                    self._clones[id(layer)] = self.clone(layer)
                else:
                    self._clones[id(layer)] = self._clone_layer(layer)
                    copied.append((layer, self._clones[id(layer)]))
            return self._clones[id(layer)]

        try:
            clone = tf.keras.models.clone_model(model, clone_function=clone_function)
        except ConversionError:
            raise
        except ValueError as error:
            raise ConversionError(
                f"convert: the model '{model.name}' ({type(model).__name__}) cannot be cloned; "
                f"subclassed models have no graph of layers to read: use a functional or "
                f"Sequential model. Keras says: {error}"
            ) from error
        if not clone.built:
            clone.build(model.input_shape)
        for original, copy in copied:
            _copy_weights(original, copy)
        return clone

    def _clone_layer(self, layer: Any) -> Any:
        try:
            config = _baked_config(layer)
            if not isinstance(layer, lq.layers.QuantConv2D) or layer.kernel_quantizer is None:
                return type(layer).from_config(config)
            return self._convolution(layer, config)
        except (TypeError, ValueError, NotImplementedError) as error:
            raise ConversionError(
                f"convert: the layer '{layer.name}' ({type(layer).__name__}) cannot be made again "
                "from its get_config(); give it one, and register its own functions and classes "
                f"with tf.keras.utils.register_keras_serializable. Keras says: {error}"
            ) from error

    def _convolution(self, layer: Any, config: dict[str, Any]) -> Any:
        with lq.context.quantized_scope(True):
            code = layer.kernel.numpy()
        is_zero_one = bool(np.isin(code, (0, 1)).all() and (code == 0).any())
        pads_zeros = layer.padding == "same" and layer.pad_values == 0
        if not is_zero_one and not (pads_zeros and self._rewrite_small_maps):
            return type(layer).from_config(config)
        # `Packable` comes after the layer's class, so that all which that adds around
        # `super().convolution_op` (scales, say) stays.
        packable = type(f"Packable{type(layer).__name__}", (type(layer), Packable), {})
        copy = packable.from_config(config)
        copy.code = code
        copy.is_zero_one = is_zero_one
        copy.rewrites_small_maps = pads_zeros and self._rewrite_small_maps
        return copy


def _baked_config(layer: Any) -> dict[str, Any]:
    config = layer.get_config()
    if layer.compute_dtype in ("float16", "bfloat16", "float64"):
        config["dtype"] = "float32"
    if isinstance(layer, SampleSign):
        config["zero"] = 1
    for key in ("input_quantizer", "activation"):
        if isinstance(getattr(layer, key, None), SampleSign):
            config[key] = SampleSign(zero=1)
    for prefix, quantizer in weight_quantizers(layer).items():
        precision = getattr(quantizer, "precision", None) or 32
        config[f"{prefix}_quantizer"] = lq.quantizers.NoOp(precision=precision)
        config[f"{prefix}_constraint"] = config[f"{prefix}_regularizer"] = None
    return config


def _copy_weights(original: Any, copy: Any) -> None:
    # Only where the copy has no quantizer any more: coding a code is not always the identity.
    with lq.context.quantized_scope(bool(weight_quantizers(original))):
        values = original.get_weights()
    copy.set_weights(values)
    if isinstance(copy, Packable) and copy.is_zero_one:
        copy.kernel.assign(2 * copy.code - 1)
