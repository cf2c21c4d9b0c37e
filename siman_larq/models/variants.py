"""The paper's networks with other codes, clamps and shifts than the official ones."""

import importlib
from collections.abc import Callable
from typing import Any

import larq as lq
import tensorflow as tf

from siman_larq.constraints import PercentileClip
from siman_larq.layers import SiMaNConv2D
from siman_larq.math import Threshold
from siman_larq.models import blocks, cifar, imagenet
from siman_larq.quantizers import SiMaNQuantizer

__all__ = ["NETWORKS", "SETTINGS", "kernel_parts", "variant"]

NETWORKS = tuple(name for module in (cifar, imagenet) for name in module.__all__)
"""The names of the networks."""

SETTINGS = ("levels", "threshold", "code", "clamp", "centred", "rprelu", "channel_shift")
"""The fields of a recipe that `variant` takes."""


def kernel_parts(
    levels: tuple[float, float],
    threshold: Threshold,
    code: str,
    clamp: str,
    is_real: bool = False,
) -> dict[str, Any]:
    """A quantizer and a constraint for one binary kernel, as arguments of its layer.

    # Arguments
        levels: As for `siman_larq.SiMaNQuantizer`.
        threshold: As for `siman_larq.SiMaNQuantizer`.
        code: As for `siman_larq.SiMaNQuantizer`.
        clamp: `"upper"` for that tail alone, else both; without any the percentage stays 0.
        is_real: Whether the kernel is real for now, and will be binary.
    """
    # By its precision the optimizer knows the kernel as one that will be binary.
    real = lq.quantizers.NoOp(precision=1) if is_real else None
    return {
        "kernel_quantizer": real or SiMaNQuantizer(levels, threshold, code=code),
        "kernel_constraint": PercentileClip(tails="upper" if clamp == "upper" else "both"),
    }


def variant(
    name: str,
    input_shape: tuple[int, int, int],
    num_classes: int,
    *,
    levels: tuple[float, float] = (-1, 1),
    threshold: Threshold = "median",
    code: str = "magnitude",
    clamp: str = "both",
    centred: bool = False,
    rprelu: bool = False,
    channel_shift: bool = False,
    is_real: bool = False,
    is_float: bool = False,
) -> tf.keras.Model:
    """One of `NETWORKS` with the settings of a recipe, which `siman_larq.training.Recipe` tells.

    With `is_real` its binary kernels are real for now, with `is_float` its activations too, and
    for good.
    """

    def conv(*args: Any, name: str, **kwargs: Any) -> Callable[[tf.Tensor], tf.Tensor]:
        if is_float:
            kwargs.pop("input_quantizer", None)
            settings = {"padding": "same", "use_bias": False, "name": name, **kwargs}
            return tf.keras.layers.Conv2D(*args, **settings)
        parts = kernel_parts(levels, threshold, code, clamp, is_real)
        layer = SiMaNConv2D(*args, **{"name": name, "centred": centred, **parts, **kwargs})
        # One with an input quantizer of its own is given signs.
        if not channel_shift or "input_quantizer" in kwargs:
            return layer
        return lambda x: layer(blocks.ChannelShift(name=f"{name}.shift")(x))

    activation = {"activation": blocks.rprelu} if rprelu else {}
    # As the package has it when it is asked for, where another may have been put in its place.
    build = getattr(importlib.import_module("siman_larq.models"), name)
    return build(input_shape, num_classes, conv=conv, **activation)
