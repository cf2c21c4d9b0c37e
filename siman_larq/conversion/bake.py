"""A copy of a model in which every binary kernel is a constant that LCE packs."""

from typing import Any

import larq as lq
import numpy as np
import tensorflow as tf

from siman_larq._cloning import clone_model
from siman_larq.conversion.binary import binary_kernel, is_binary, is_zero_one, small_map_layers
from siman_larq.conversion.errors import ConversionError
from siman_larq.layers import SiMaNConv2D
from siman_larq.quantizers import SampleSign

__all__ = ["bake"]


def bake(model: tf.keras.Model, rewrite_small_maps: bool = False) -> tf.keras.Model:
    r"""Copies a model with its codes in place of latent kernels and their quantizers.

    LCE packs a kernel only if it is a constant of -1 and +1 (times a scale per filter). Layers
    coded in {0, 1} are computed as \\(a * B = \frac{1}{2} (a * (2B - 1) + a * 1)\\), where the
    kernel of ones has a single filter.

    # Arguments
        model: A functional or Sequential Keras model; it is left as it is.
        rewrite_small_maps: Whether zero padding on maps smaller than the kernel becomes padding
            with ones minus a constant, which is equal and right in every kernel of LCE.

    # Returns
        A float32 Keras model for inference.

    # Raises
        ConversionError: for a subclassed model, or NaN or infinite weights, naming the layer.
    """
    small = small_map_layers(model) if rewrite_small_maps else []

    def copy(layer: tf.keras.layers.Layer) -> tf.keras.layers.Layer:
        return _copy_layer(layer, rewrite=any(layer is other for other in small))

    policy = tf.keras.mixed_precision.global_policy()
    tf.keras.mixed_precision.set_global_policy("float32")
    try:
        baked, pairs = clone_model(model, copy, "Conversion", ConversionError)
    finally:
        tf.keras.mixed_precision.set_global_policy(policy)
    for layer, made in pairs:
        if isinstance(made, _RewrittenConv2D):
            made.take_weights(layer)
        else:
            with lq.context.quantized_scope(True):
                made.set_weights(layer.get_weights())
    return baked


def _copy_layer(layer: tf.keras.layers.Layer, rewrite: bool) -> tf.keras.layers.Layer:
    config = layer.get_config()
    if "dtype" in config:
        config["dtype"] = "float32"
    if isinstance(layer, SampleSign):
        return SampleSign.from_config({**config, "zero": 1})
    for name in list(config):
        if name.endswith(("_constraint", "_regularizer")):
            config[name] = None
        elif name.endswith("_quantizer"):
            quantizer = getattr(layer, name)
            if isinstance(quantizer, SampleSign):
                # One bit has no third value.
                config[name] = SampleSign(zero=1)
            elif name != "input_quantizer" and getattr(quantizer, "precision", None) == 1:
                config[name] = lq.quantizers.NoOp(precision=1)
    if not is_binary(layer):
        return type(layer).from_config(config)
    kernel = _finite_kernel(layer)
    zero_one = kernel is not None and is_zero_one(kernel)
    if rewrite or zero_one:
        if type(layer).call not in (lq.layers.QuantConv2D.call, SiMaNConv2D.call):
            raise ConversionError(
                f"Layer {layer.name!r} is a {type(layer).__name__} with a call of its own. "
                "Levels (0, 1) and small_maps='rewrite' put an equal form in place of the layer, "
                "known for QuantConv2D and SiMaNConv2D only; use one of these, or levels (-1, 1)."
            )
        return _RewrittenConv2D(layer, config["input_quantizer"], zero_one, rewrite)
    return type(layer).from_config(config)


def _finite_kernel(layer: tf.keras.layers.Layer) -> np.ndarray | None:
    for weight in layer.get_weights():
        if not np.isfinite(weight).all():
            raise ConversionError(
                f"Layer {layer.name!r} has NaN or infinite weights; look for a diverged training "
                "step or a damaged weights file."
            )
    return binary_kernel(layer)


class _RewrittenConv2D(tf.keras.layers.Layer):
    """A binary convolution in an equal form that LCE packs, and computes rightly."""

    def __init__(
        self,
        source: lq.layers.QuantConv2D,
        input_quantizer: Any,
        zero_one: bool,
        small_maps: bool,
    ) -> None:
        super().__init__(name=source.name)
        self.quantizer = lq.quantizers.get(input_quantizer)
        self.small_maps = small_maps
        self.source_activation = source.activation
        self.signs = self._convolution(source, source.filters)
        # Grouped, every filter has inputs of its own and needs its own sum.
        self.ones = self._convolution(source, 1 if source.groups == 1 else source.filters)
        self.zero_one = zero_one

    def _convolution(self, source: lq.layers.QuantConv2D, filters: int) -> tf.keras.layers.Layer:
        return lq.layers.QuantConv2D(
            filters,
            source.kernel_size,
            strides=source.strides,
            padding=source.padding,
            pad_values=1.0 if self.small_maps else source.pad_values,
            dilation_rate=source.dilation_rate,
            groups=source.groups,
            use_bias=False,
            kernel_quantizer=lq.quantizers.NoOp(precision=1),
        )

    def build(self, input_shape: Any) -> None:
        self.signs.build(input_shape)
        self.ones.build(input_shape)
        filters = self.signs.filters
        self.scale = self.add_weight("scale", (filters,), initializer="ones")
        self.shift = self.add_weight("shift", (filters,), initializer="zeros")
        super().build(input_shape)

    def take_weights(self, source: lq.layers.QuantConv2D) -> None:
        """Reads the code, the scale and the bias of the layer that this one stands for."""
        kernel = np.asarray(binary_kernel(source))
        self.signs.set_weights([2 * kernel - 1 if self.zero_one else kernel])
        self.ones.set_weights([np.ones(self.ones.kernel.shape, np.float32)])
        if isinstance(source, SiMaNConv2D):
            self.scale.assign(source.alpha)
        if source.use_bias:
            self.shift.assign(source.bias)

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        if self.quantizer is not None:
            inputs = self.quantizer(inputs)
        outputs = self._convolve(self.signs, inputs)
        if self.zero_one:
            if max(self.ones.dilation_rate) > 1:
                # LCE sees a dilated convolution only where nothing else uses its inputs.
                inputs = lq.math.sign(2.0 * inputs)
            outputs = 0.5 * (outputs + self._convolve(self.ones, inputs))
        return self.source_activation(outputs * self.scale + self.shift)

    def _convolve(self, layer: lq.layers.QuantConv2D, inputs: tf.Tensor) -> tf.Tensor:
        outputs = layer(inputs)
        if self.small_maps:
            # Where the padding is +1 it adds the weights that lie outside; take them off again.
            inside = tf.nn.convolution(
                tf.ones([1, *inputs.shape[1:]]),
                layer.kernel,
                strides=layer.strides,
                padding="SAME",
                dilations=layer.dilation_rate,
            )
            outside = tf.reduce_sum(layer.kernel, axis=[0, 1, 2]) - inside
            if outside.shape[1:3] == (1, 1):
                return outputs - tf.reshape(outside, [-1])
            # As rows: LCE would take a constant behind the convolution for a bias per filter.
            rows = tf.reshape(outputs, [-1, outside.shape.num_elements()])
            outputs = tf.reshape(rows - tf.reshape(outside, [1, -1]), [-1, *outside.shape[1:]])
        return outputs
