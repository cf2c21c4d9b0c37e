"""Quantizers and constraints in the forms Larq takes, as makers of fresh ones."""

from collections.abc import Callable
from typing import Any

import larq as lq
import tensorflow as tf

from siman_larq._private import quantizer_metrics
from siman_larq.quantizers import SampleSign, SiMaNQuantizer

__all__ = [
    "KEEP",
    "LEVELS",
    "Maker",
    "constraint_maker",
    "input_maker",
    "kernel_maker",
    "no_constraint",
]

LEVELS = (-1, 1)
KEEP = "keep"

Maker = Callable[[], Any]


def kernel_maker(levels: Any, threshold: Any, kernel_quantizer: Any) -> Maker:
    """Makes the kernel quantizers that `binarize` was asked for."""
    siman = SiMaNQuantizer(levels=levels, threshold=threshold)
    if kernel_quantizer is None or kernel_quantizer == "siman":
        return _copier(siman)
    given = _quantizer("kernel_quantizer", kernel_quantizer)
    _check_precision("kernel_quantizer", kernel_quantizer, given)
    for name, default in (("levels", LEVELS), ("threshold", "median")):
        asked = getattr(siman, name)
        if asked != default and getattr(given, name, None) != asked:
            raise ValueError(
                f"kernel_quantizer={kernel_quantizer!r} and {name}={asked!r} exclude each other; "
                f"leave {name} out, or give it to the quantizer alone, for example "
                f'kernel_quantizer={{"class_name": "siman", "config": {{"{name}": {asked!r}}}}}.'
            )
    return _copier(given)


def constraint_maker(kernel_constraint: Any) -> Maker:
    """Makes the constraints of binary kernels."""
    try:
        given = tf.keras.constraints.get(kernel_constraint)
    except (TypeError, ValueError) as error:
        raise _unknown("kernel_constraint", kernel_constraint, "percentile_clip") from error
    _check_instance("kernel_constraint", given, "PercentileClip()")
    if isinstance(given, tf.keras.constraints.Constraint):
        return lambda: type(given).from_config(given.get_config())
    return lambda: given


def no_constraint(weights: tf.Tensor) -> tf.Tensor:
    """Stands for none where Larq would warn of starved weights; SiMaN's gradient starves none."""
    return weights


def input_maker(input_quantizer: Any) -> tuple[Maker, str | None]:
    """Makes input quantizers, and tells which ones these replace.

    # Returns
        The maker; and `"all"` if it replaces every input quantizer of binary layers, `"wide"` if
        those of more than 1 bit, `None` if it replaces none.
    """
    if input_quantizer is None:
        return _copier(SampleSign()), "wide"
    if input_quantizer == KEEP:
        return lambda: None, None
    given = _quantizer("input_quantizer", input_quantizer)
    _check_precision("input_quantizer", input_quantizer, given)
    return _copier(given), "all"


def _quantizer(argument: str, identifier: Any) -> Any:
    example = "siman" if argument == "kernel_quantizer" else "sample_sign"
    try:
        quantizer = lq.quantizers.get(identifier)
    except (TypeError, ValueError) as error:
        raise _unknown(argument, identifier, example) from error
    _check_instance(argument, quantizer, "SiMaNQuantizer(levels=(-1, 1))")
    return quantizer


def _check_instance(argument: str, given: Any, example: str) -> None:
    if isinstance(given, type):
        raise TypeError(f"{argument}={given!r} is a class; give an instance such as {example}.")


def _check_precision(argument: str, identifier: Any, quantizer: Any) -> None:
    precision = getattr(quantizer, "precision", None)
    if precision != 1:
        cure = "such as 'siman'"
        if argument == "input_quantizer":
            cure = f"such as 'sample_sign', or {KEEP!r} to leave the model's own in place"
        raise ValueError(
            f"{argument}={identifier!r} has precision {precision}, and binary layers need "
            f"precision 1; give a 1-bit quantizer {cure}."
        )


def _unknown(argument: str, identifier: Any, example: str) -> Exception:
    return ValueError(
        f"{argument}={identifier!r} is unknown; give the name of a registered one such as "
        f"{example!r}, a dict of class_name and config, or an instance."
    )


def _copier(template: Any) -> Maker:
    """Makes a copy for every layer: Larq's metrics cannot share a quantizer."""
    if not isinstance(template, tf.keras.layers.Layer):
        return lambda: template
    # Without the name, so that every copy, and with it its metrics, gets one of its own.
    config = {key: value for key, value in template.get_config().items() if key != "name"}
    config.update(quantizer_metrics(template))
    return lambda: type(template).from_config(dict(config))
