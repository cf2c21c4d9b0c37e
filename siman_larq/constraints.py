"""Kernel constraints of SiMaN."""

from typing import Any, get_args

import larq as lq
import tensorflow as tf

from siman_larq._instances import refuse_tensor
from siman_larq._scopes import quantized
from siman_larq.choices import is_number
from siman_larq.filters import axes_by_name, checked_axes
from siman_larq.math import Tails, clamp_magnitudes

__all__ = ["PercentileClip"]


@lq.utils.register_alias("percentile_clip")
@lq.utils.register_keras_custom_object
class PercentileClip(tf.keras.constraints.Constraint):
    r"""Centres every filter and clamps magnitudes to percentiles of the whole kernel.

    \\[
    v = w - \bar w, \quad
    c(w) = \mathrm{sign}(v) \min(\max(|v|, P_{p}(|v|)), P_{100 - p}(|v|))
    \\]
    with \\(\bar w\\) the mean of a filter and \\(P_p\\) the p-th percentile of
    \\(|v|\\) over all filters of the kernel together, linearly interpolated. With
    `percent=0` only the mean goes, which does not change training.

    The official code clamps on every forward pass, outside the gradient. As a constraint after
    each update this is the same; `siman_larq.ClipAnnealing` sets the percentage by epoch.

    !!! example
        ```python
        layer = lq.layers.QuantConv2D(
            64, 3, kernel_quantizer="siman_pm1", kernel_constraint=PercentileClip(15.0)
        )
        ```

    # Arguments
        percent: \\(p\\) in percent, in [0, 50).
        filter_axes: The axes of the kernel that tell filters apart, as for
            `siman_larq.SiMaNQuantizer`. `None`: those of the layer, which a `SiMaNQuantizer` beside
            it and `siman_larq.ClipAnnealing` find, or the last.
        tails: `"both"`, or `"upper"`: small magnitudes stay as they are. Lifted to \\(P_p\\) at
            every step, a weight changes its sign only in an update larger than that, which holds
            back codes of the sign.

    # Attributes
        percent: The value in force; assign to it to change it, also between steps of a compiled
            `fit`.
        variable: The scalar that holds it, for training loops of one's own.
        filter_axes: The axes in force.

    # Raises
        ValueError: for a percent outside [0, 50), or other axes or tails.
        TypeError: where the class is given in place of an instance.

    # References
        - [SiMaN: Sign-to-Magnitude Network Binarization](https://arxiv.org/abs/2102.07981)
    """

    def __init__(
        self, percent: float = 0.0, filter_axes: Any = None, tails: Tails = "both"
    ) -> None:
        refuse_tensor("PercentileClip", "percent", percent, "kernel_constraint=PercentileClip()")
        value = _checked_percent(percent)
        self.filter_axes = self.given_axes = checked_axes("PercentileClip", filter_axes)
        if tails not in get_args(Tails):
            raise ValueError(
                f"PercentileClip: tails={tails!r} is not supported; use 'both' or 'upper'."
            )
        self.tails = tails
        # A variable, so that a new value reaches training steps that are already traced.
        with tf.init_scope():
            self.variable = tf.Variable(value, trainable=False, dtype=tf.float32, name="percent")

    @property
    def percent(self) -> float:
        return float(self.variable.numpy())

    @percent.setter
    def percent(self, value: float) -> None:
        self.variable.assign(_checked_percent(value))

    def __call__(self, w: tf.Tensor) -> tf.Tensor:
        axes = self.filter_axes or axes_by_name(w)
        with quantized(False):
            w = tf.convert_to_tensor(w)
        return clamp_magnitudes(w, self.variable, axes, self.tails)

    def get_config(self) -> dict[str, Any]:
        axes = self.filter_axes and list(self.filter_axes)
        return {"percent": self.percent, "filter_axes": axes, "tails": self.tails}


def _checked_percent(percent: float) -> float:
    if not is_number(percent) or not 0 <= percent < 50:
        raise ValueError(
            f"PercentileClip: percent={percent!r} is out of range; the clamp keeps magnitudes "
            "between the percentiles p and 100 - p, so give a number in [0, 50)."
        )
    return float(percent)
