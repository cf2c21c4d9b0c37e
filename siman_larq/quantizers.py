"""Larq quantizers for SiMaN: thin Keras layers over `siman_larq.math`."""

import math
from typing import Any

import larq as lq
import tensorflow as tf

from siman_larq._instances import refuse_tensor
from siman_larq._private import BaseQuantizer, calling_layer
from siman_larq._scopes import leave_quantized
from siman_larq.choices import CODES, is_number
from siman_larq.filters import axes_by_name, checked_axes, quantized_kernel, tell_axes
from siman_larq.math import Threshold, magnitude_code, sample_sign, sign_code

__all__ = ["SampleSign", "SiMaNQuantizer"]


@lq.utils.register_alias("siman")
@lq.utils.register_keras_custom_object
class SiMaNQuantizer(BaseQuantizer):
    r"""Instantiates a serializable kernel quantizer that codes weights by magnitude.

    Per filter the weights of larger magnitude become the upper level:
    \\[
    q(w) = \begin{cases}
      \texttt{levels[1]} & |w - \bar w| > t \\\
      \texttt{levels[0]} & \text{otherwise}
    \end{cases}
    \\]
    with \\(\bar w\\) the filter's mean and \\(t\\) its lower median magnitude, unless `threshold`
    says otherwise.

    The gradient takes the code for \\(|w_2|\\), where \\(w_2 = (w - \bar w) / s\\) is the
    standardised filter (unbiased variance, 1e-5 added):
    \\[
    \frac{\partial L}{\partial w_2} = \mathrm{sign}(w_2) \frac{\partial L}{\partial q}
    \\]
    Nothing is clipped, and the gradient goes on through the standardisation.

    !!! warning "By name"
        `kernel_quantizer="siman"` has the levels (0, 1); `"siman_pm1"` has (-1, 1), as in the
        official code. In short trainings of ResNet-20 on Fashion-MNIST these gave 57 and 78 %.

    !!! note "Which levels?"
        With \\(B \in \\{0, 1\\}\\) the paper's code and \\(*\\) the convolution,
        \\[
        a * B = \tfrac{1}{2} \left( a * (2B - 1) + a * 1 \right)
        \\]
        `levels=(0, 1)` therefore adds to every output channel the same plain sum of the
        receptive field. The official code convolves with `levels=(-1, 1)`, and that trains far
        better (see "Which levels?" in the documentation); so `siman_larq.SiMaNConv2D` uses it.

    !!! note
        Coding is not idempotent by itself. A kernel whose weights all are levels is therefore
        passed on unchanged, and weights saved under `larq.context.quantized_scope(True)` load
        back and give the same outputs.

    !!! note
        Under mixed precision Keras hands layers their kernels rounded to 16 bits, and then
        magnitudes tie at the threshold. `siman_larq.SiMaNConv2D` codes its float32 weights.

    !!! example
        ```python
        layer = lq.layers.QuantConv2D(
            64,
            3,
            input_quantizer="sample_sign",
            kernel_quantizer=SiMaNQuantizer(levels=(-1, 1)),
            kernel_constraint=PercentileClip(),
        )
        ```

    # Arguments
        levels: `(0, 1)`, the paper's code, or `(-1, 1)`, its image \\(2B - 1\\).
        threshold: `"median"`: a one strictly above the lower median, \\(\lfloor n/2 \rfloor\\)
            ones for a filter of n weights without ties. `"angle"`: the k largest magnitudes for
            the k that maximises \\(S_k / \sqrt k\\), with \\(S_k\\) their sum, so that the angle
            between magnitudes and code is smallest; leave `PercentileClip` out then, since with
            any clamp too many weights become ones (9 to 10 points lower in a study). A number f
            in (0, 1): \\(\lfloor f n \rfloor\\) ones (at least 1, at most n - 1), fewer when
            magnitudes tie.
        filter_axes: The axes of the kernel that tell filters apart. `None`: those of the layer
            that calls the quantizer, by default the last. In transposed convolutions the filters
            lie along the axis before the last; in depthwise kernels every channel and multiplier
            has one; in locally connected layers every position has its own. Transposed and locally
            connected layers must have been called, as models do, before their codes are read.
        code: `"magnitude"`, or a code to compare it with, all else equal: `"sign"`, the upper level
            where \\(w \geq \bar w\\), or `"balanced_sign"`, the upper level strictly above
            the lower median of the weights themselves. The gradient then takes the code for
            \\(w_2\\): \\(\partial L / \partial w_2 = \partial L / \partial q\\).
        metrics: An array of metrics to add to the layer. If `None` the metrics set in
            `larq.context.metrics_scope` are used. Currently only the `flip_ratio` metric is
            available.

    # Attributes
        filter_axes: The axes in force; `None` until they are given or a layer is called.

    # Raises
        ValueError: for other levels, thresholds, codes or axes, and for a threshold beside a sign
            code; for a quantizer that is shared between
            kernels with other filters; and in eager mode for a kernel with NaN or infinite
            weights (in graph mode such a filter's code is NaN).
        TypeError: for kernels that are no floating-point numbers, and where the class is given in
            place of an instance.

    # References
        - [SiMaN: Sign-to-Magnitude Network Binarization](https://arxiv.org/abs/2102.07981)
    """

    precision = 1

    def __init__(
        self,
        levels: tuple[float, float] = (0, 1),
        threshold: Threshold = "median",
        filter_axes: Any = None,
        code: str = "magnitude",
        **kwargs: Any,
    ) -> None:
        example = "kernel_quantizer=SiMaNQuantizer(levels=(-1, 1))"
        refuse_tensor("SiMaNQuantizer", "levels", levels, example)
        self.levels = checked_levels(levels)
        self.threshold = checked_threshold(threshold)
        self.filter_axes = self.given_axes = checked_axes("SiMaNQuantizer", filter_axes)
        self.code = _checked_code(code, self.threshold)
        # Keras would round what it is given to the policy's dtype.
        kwargs.setdefault("autocast", False)
        super().__init__(**kwargs)

    def __call__(self, inputs: tf.Tensor, *args: Any, **kwargs: Any) -> tf.Tensor:
        try:
            # Before the call, in which this quantizer is itself the calling layer.
            tell_axes(calling_layer())
            return super().__call__(inputs, *args, **kwargs)
        except Exception:
            leave_quantized()
            raise

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        _check_finite(inputs)
        axes = self.filter_axes or axes_by_name(inputs)
        if self.code == "magnitude":
            return super().call(magnitude_code(inputs, self.levels, self.threshold, axes))
        is_balanced = self.code == "balanced_sign"
        return super().call(sign_code(inputs, self.levels, is_balanced, axes))

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "levels": list(self.levels),
            "threshold": self.threshold,
            "filter_axes": self.filter_axes and list(self.filter_axes),
            "code": self.code,
        }


@lq.utils.register_alias("siman_pm1")
def _siman_pm1(**config: Any) -> SiMaNQuantizer:
    return SiMaNQuantizer(**{"levels": (-1, 1), **config})


@lq.utils.register_alias("sample_sign")
@lq.utils.register_keras_custom_object
class SampleSign(BaseQuantizer):
    r"""Instantiates a serializable input quantizer: the sign about each sample's mean.

    \\[
    q(a) = \mathrm{sign}(a - \bar a)
    \\]
    with \\(\bar a\\) the mean of the sample over all axes but the first. Dividing by the standard
    deviation cannot change a sign, so the forward graph has no standard deviation: a converted
    layer costs MEAN, SUB and the quantize op (MEAN twice for samples of more than 4,096 values,
    where TFLite would add up too many values in float32).

    The gradient is that of `approx_sign` in standardised activations
    \\(a_1 = (a - \bar a) / s\\) (unbiased variance over the sample, 1e-5 added),
    \\[
    \frac{\partial L}{\partial a_1} =
    \frac{1}{\omega} \max\left(0, 2 - \frac{2 |a_1|}{\omega}\right)
    \frac{\partial L}{\partial q}
    \\]
    with the width \\(\omega = 1\\), carried on through the mean and the variance. PokeBNN found
    the width to matter much. As there, where a code of \\(\pm B\\) stands for the identity on
    \\([-B, B]\\), a wider gradient is lower: its integral is 2, by which the sign rises.

    !!! example
        ```python
        layer = lq.layers.QuantConv2D(64, 3, input_quantizer="sample_sign")
        ```

    # Arguments
        zero: Value where an activation equals its sample's mean exactly: 0, as in the official
            code (the default), or 1, Larq's convention. One bit has no third value, so
            `siman_larq.convert` always uses 1; in trained networks exact equality does not occur
            except in constant samples. Integers and booleans give signs in the layer's own
            floating-point type.
        width: \\(\omega\\), in standard deviations; assign to it to change it before the model is
            trained.
        metrics: An array of metrics to add to the layer. If `None` the metrics set in
            `larq.context.metrics_scope` are used. Currently only the `flip_ratio` metric is
            available.

    # Raises
        ValueError: for another `zero`, a width that is not above 0, inputs of rank 0 or 1, or
            the kernel of a layer.
        TypeError: for inputs that are no real numbers or not dense, and where the class is given
            in place of an instance.

    # References
        - [SiMaN: Sign-to-Magnitude Network Binarization](https://arxiv.org/abs/2102.07981)
        - [PokeBNN: A Binary Pursuit of Lightweight Accuracy](https://arxiv.org/abs/2112.00133)
    """

    precision = 1

    def __init__(self, zero: int = 0, width: float = 1.0, **kwargs: Any) -> None:
        refuse_tensor("SampleSign", "zero", zero, "input_quantizer=SampleSign()")
        if zero not in (0, 1):
            raise ValueError(f"SampleSign: zero={zero!r} is not a value of sign(0); use 0 or 1.")
        self.zero, self.width = int(zero), width
        kwargs.setdefault("autocast", False)
        super().__init__(**kwargs)

    @property
    def width(self) -> float:
        return self._width

    @width.setter
    def width(self, value: float) -> None:
        if not is_number(value) or not 0 < value < math.inf:
            raise ValueError(f"SampleSign: width={value!r} must be a number above 0.")
        self._width = float(value)

    def __call__(self, inputs: tf.Tensor, *args: Any, **kwargs: Any) -> tf.Tensor:
        kernel = quantized_kernel(calling_layer(), self)
        if kernel is not None:
            leave_quantized()
            raise ValueError(
                f"SampleSign is given as {kernel}_quantizer, and it quantizes activations by "
                "sample, not kernels by filter; give input_quantizer=SampleSign() and "
                f"{kernel}_quantizer=SiMaNQuantizer(levels=(-1, 1))."
            )
        return super().__call__(inputs, *args, **kwargs)

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        if isinstance(inputs, tf.RaggedTensor | tf.SparseTensor):
            raise TypeError(
                f"SampleSign: inputs are a {type(inputs).__name__}; give a dense tensor."
            )
        if inputs.shape.rank is None or inputs.shape.rank < 2:
            raise ValueError(
                f"SampleSign: inputs of shape {inputs.shape} have no axis to take a sample's mean "
                "over; give activations of shape (batch, ..., channels)."
            )
        signs = sample_sign(inputs, self.zero, self.width)
        if not inputs.dtype.is_floating:
            signs = tf.cast(signs, self.compute_dtype)
        return super().call(signs)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "zero": self.zero, "width": self.width}


def checked_levels(levels: Any) -> tuple[float, float]:
    """Levels as the quantizer takes them, or a `ValueError`."""
    try:
        checked = tuple(float(level) for level in levels)
    except (TypeError, ValueError):
        checked = ()
    if checked not in ((0.0, 1.0), (-1.0, 1.0)):
        raise ValueError(
            f"SiMaNQuantizer: levels={levels!r} is not supported; use (0, 1), the code of the "
            "paper, or (-1, 1), the form its official code convolves with."
        )
    return checked  # type: ignore[return-value]


def checked_threshold(threshold: Any) -> Threshold:
    """A threshold as the quantizer takes it, or a `ValueError`."""
    if threshold in ("median", "angle"):
        return threshold
    if is_number(threshold) and 0 < threshold < 1:
        return float(threshold)
    raise ValueError(
        f"SiMaNQuantizer: threshold={threshold!r} is not supported; use 'median', 'angle' or a "
        "fraction of ones strictly between 0 and 1."
    )


def _checked_code(code: Any, threshold: Threshold) -> str:
    if code not in CODES:
        raise ValueError(
            f"SiMaNQuantizer: code={code!r} is not supported; use one of {', '.join(CODES)}."
        )
    if code != "magnitude" and threshold != "median":
        raise ValueError(
            f"SiMaNQuantizer: threshold={threshold!r} is one of magnitudes, and code={code!r} has "
            "none; leave threshold out, or use code='magnitude'."
        )
    return code


def _check_finite(kernel: tf.Tensor) -> None:
    """Names the layer, which is the scope in which a layer reads its kernel."""
    if not (tf.executing_eagerly() and kernel.dtype.is_floating):
        return
    bad = tf.math.count_nonzero(~tf.math.is_finite(kernel))
    if bad:
        scope = tf.get_current_name_scope() or "called outside a layer"
        raise ValueError(
            f"SiMaNQuantizer ({scope}): {int(bad)} of the kernel's {kernel.shape.num_elements()} "
            "weights are NaN or infinite, and such weights have no magnitude code. Look for a "
            "diverged training step (lower the learning rate) or a damaged weights file."
        )
