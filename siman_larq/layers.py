"""Layers of SiMaN."""

from collections.abc import Callable
from typing import Any

import larq as lq
import tensorflow as tf

from siman_larq._instances import resolve
from siman_larq._scopes import quantized
from siman_larq.constraints import PercentileClip
from siman_larq.math import mean_magnitude
from siman_larq.quantizers import SampleSign, SiMaNQuantizer

__all__ = ["SiMaNConv2D"]


@lq.utils.register_keras_custom_object
class SiMaNConv2D(lq.layers.QuantConv2D):
    r"""The binary convolution of the official SiMaN code.

    \\[
    y = \alpha_f \cdot \left( \mathrm{sign}(a - \bar a) * (2B - 1) \right)
    \\]
    with \\(\bar a\\) the sample's mean (`siman_larq.SampleSign`), \\(B \in \\{0, 1\\}\\) the
    magnitude code of the latent kernel (`siman_larq.SiMaNQuantizer` with `levels=(-1, 1)`) and
    \\(\alpha_f\\) a learned scale per filter, which starts at the filter's mean \\(|w|\\).
    Padding adds 0 at the border.

    !!! example
        ```python
        x = SiMaNConv2D(64, 3)(x)
        x = tf.keras.layers.BatchNormalization(momentum=0.9, epsilon=1e-5)(x)
        ```

    # Arguments
        filters: Integer, the number of output filters.
        kernel_size: An integer or pair of integers, height and width of the kernel.
        strides: An integer or pair of integers.
        padding: `"same"` or `"valid"`. On even maps with stride 2, `"same"` pads at the bottom
            and right only, as everywhere in TensorFlow.
        use_bias: Whether to add a bias. The official layer has none.
        input_quantizer: Defaults to `SampleSign()`.
        kernel_quantizer: Defaults to `SiMaNQuantizer(levels=(-1, 1))`, which is `"siman_pm1"` by
            name; `"siman"` has the levels (0, 1).
        kernel_constraint: Defaults to `PercentileClip(0.0)`, for `ClipAnnealing` to set.
        alpha_initializer: Defaults to `None`: the mean magnitude of each filter's latent weights.
        centred: Whether the mean over the filters is taken off the convolution at every position,
            before alpha: \\(y_f = \alpha_f (c_f - \bar c)\\). That is for the levels (0, 1),
            with which all filters have a sum in common that batch normalisation cannot remove;
            with it they train as (-1, 1) do, because
            \\[
            a * B_f - \overline{a * B} = \tfrac{1}{2}
            \left( a * (2B - 1)_f - \overline{a * (2B - 1)} \right)
            \\]
        kwargs: As for `larq.layers.QuantConv2D`.

    # Attributes
        kernel: Latent weights, HWIO.
        alpha: Scale, shape `(filters,)`.

    # Input shape
        `(batch, height, width, channels)`

    # Output shape
        `(batch, new_height, new_width, filters)`

    # Raises
        ValueError: for `data_format="channels_first"`, which LCE cannot convert, unknown names, and
            `centred=True` with a single filter, of which nothing would be left, or with groups,
            whose filters have no sum in common.
        TypeError: for a class given as a quantizer or constraint in place of an instance.

    # References
        - [SiMaN: Sign-to-Magnitude Network Binarization](https://arxiv.org/abs/2102.07981)
    """

    def __init__(
        self,
        filters: int,
        kernel_size: int | tuple[int, int],
        strides: int | tuple[int, int] = 1,
        padding: str = "same",
        use_bias: bool = False,
        input_quantizer: Any = "default",
        kernel_quantizer: Any = "default",
        kernel_constraint: Any = "default",
        alpha_initializer: Any = None,
        centred: bool = False,
        **kwargs: Any,
    ) -> None:
        if input_quantizer == "default":
            input_quantizer = SampleSign()
        if kernel_quantizer == "default":
            kernel_quantizer = SiMaNQuantizer(levels=(-1, 1))
        if kernel_constraint == "default":
            kernel_constraint = PercentileClip()
        super().__init__(
            filters,
            kernel_size,
            strides=strides,
            padding=padding,
            use_bias=use_bias,
            input_quantizer=resolve("input_quantizer", input_quantizer),
            kernel_quantizer=resolve("kernel_quantizer", kernel_quantizer),
            kernel_constraint=resolve("kernel_constraint", kernel_constraint),
            **kwargs,
        )
        if self.data_format != "channels_last":
            raise ValueError(
                f"SiMaNConv2D: data_format={self.data_format!r} is not supported; use "
                "'channels_last' (LCE converts no other)."
            )
        if centred and filters == 1:
            raise ValueError(
                "SiMaNConv2D: centred=True with filters=1 leaves nothing, since a single filter is "
                "its own mean; leave centred out."
            )
        if centred and self.groups > 1:
            raise ValueError(
                f"SiMaNConv2D: centred=True with groups={self.groups} is not supported, since "
                "filters of different groups see different channels and have no sum in common; "
                "leave centred out."
            )
        self.alpha_initializer = tf.keras.initializers.get(alpha_initializer)
        self.centred = bool(centred)

    def build(self, input_shape: Any) -> None:
        super().build(input_shape)
        self.alpha = self.add_weight(
            name="alpha",
            shape=(self.filters,),
            initializer=self.alpha_initializer or self._mean_magnitude,
        )
        # By which optimizers know it, also where a loaded variable has another name.
        self.alpha.scales_binary = True

    def add_weight(self, name: str | None = None, *args: Any, **kwargs: Any) -> tf.Variable:
        if name == "kernel":
            # Rounded to 16 bits, latent weights would tie at the threshold.
            kwargs["experimental_autocast"] = False
        return super().add_weight(name, *args, **kwargs)

    def _mean_magnitude(self, shape: Any, dtype: Any = None, **_: Any) -> tf.Tensor:
        with quantized(False):
            kernel = tf.convert_to_tensor(self.kernel)
        return tf.cast(mean_magnitude(kernel), dtype or kernel.dtype)

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        # Larq would leave its scope on after an error.
        with quantized(lq.context.should_quantize()):
            return super().call(inputs)

    def convolution_op(self, inputs: tf.Tensor, kernel: tf.Tensor) -> tf.Tensor:
        # Reads the code out of Larq's variable, now that the quantized scope is on.
        kernel = tf.cast(tf.convert_to_tensor(kernel), inputs.dtype)
        alpha = tf.cast(self.alpha, inputs.dtype)
        return _scaled_convolution(super().convolution_op, inputs, kernel, alpha, self.centred)

    def scaled(self, convolved: tf.Tensor) -> tf.Tensor:
        """What the layer makes of the convolution with its code: centred if asked, times alpha."""
        return (_centre(convolved) if self.centred else convolved) * self.alpha

    def get_config(self) -> dict[str, Any]:
        initializer = self.alpha_initializer
        if initializer is not None:
            initializer = tf.keras.initializers.serialize(initializer)
        return {
            **super().get_config(),
            "alpha_initializer": initializer,
            "centred": self.centred,
        }


def _centre(values: tf.Tensor) -> tf.Tensor:
    """Values of filters along the last axis, less their mean over the filters."""
    return values - tf.reduce_mean(values, axis=-1, keepdims=True)


def _scaled_convolution(
    convolve: Callable[[tf.Tensor, tf.Tensor], tf.Tensor],
    inputs: tf.Tensor,
    kernel: tf.Tensor,
    alpha: tf.Tensor,
    centred: bool,
) -> tf.Tensor:
    """`alpha * convolve(inputs, kernel)` with exact integers before the scale.

    The gradient takes the scale to the kernel, which is small, instead of to the maps; so too the
    mean over the filters, if that is taken off.
    """

    def centre(values: tf.Tensor) -> tf.Tensor:
        return _centre(values) if centred else values

    @tf.custom_gradient
    def scaled(inputs, kernel, alpha):
        def gradient(upstream):
            linear = centre(kernel)
            with tf.GradientTape() as tape:
                scaled_kernel = linear * alpha
                tape.watch((inputs, scaled_kernel))
                # In a graph nothing uses the outputs themselves, and they are not computed.
                outputs = convolve(inputs, scaled_kernel)
            to_inputs, to_kernel = tape.gradient(outputs, (inputs, scaled_kernel), upstream)
            to_alpha = tf.reduce_sum(to_kernel * linear, axis=[0, 1, 2])
            return to_inputs, centre(to_kernel * alpha), to_alpha

        return centre(convolve(inputs, kernel)) * alpha, gradient

    return scaled(inputs, kernel, alpha)
