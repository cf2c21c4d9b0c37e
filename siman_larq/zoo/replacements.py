"""Quantizers and constraints in the forms Larq takes, as makers of fresh ones."""

from collections.abc import Callable
from typing import Any

import tensorflow as tf

from siman_larq._instances import resolve
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
    given = resolve("kernel_quantizer", kernel_quantizer)
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
    return _copier(resolve("kernel_constraint", kernel_constraint))


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
    given = resolve("input_quantizer", input_quantizer)
    _check_precision("input_quantizer", input_quantizer, given)
    return _copier(given), "all"


def _check_precision(argument: str, identifier: Any, quantizer: Any) -> None:
    precision = getattr(quantizer, "precision", None)
    if precision != 1:
        cure = "such as 'siman_pm1'"
        if argument == "input_quantizer":
            cure = f"such as 'sample_sign', or {KEEP!r} to leave the model's own in place"
        raise ValueError(
            f"{argument}={identifier!r} has precision {precision}, and binary layers need "
            f"precision 1; give a 1-bit quantizer {cure}."
        )


def _copier(template: Any) -> Maker:
    """Makes a copy for every layer: Larq's metrics cannot share a quantizer."""
    if not isinstance(template, tf.keras.layers.Layer | tf.keras.constraints.Constraint):
        return lambda: template
    config = {**template.get_config(), **quantizer_metrics(template)}
    # Every copy gets a name of its own, and with it its metrics.
    config.pop("name", None)
    if hasattr(template, "given_axes"):
        # And not the filters of a layer that the template was told of.
        config["filter_axes"] = template.given_axes
    return lambda: type(template).from_config(dict(config))
