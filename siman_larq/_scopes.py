"""Larq's scopes, left as they were found.

Those of `larq.context` stay on when something raises within them: from then on weights read as
their codes, and new quantizers get metrics.
"""

import contextlib
from collections.abc import Iterator

import larq as lq

__all__ = ["leave_quantized", "no_metrics", "quantized"]


@contextlib.contextmanager
def quantized(quantize: bool) -> Iterator[None]:
    """`larq.context.quantized_scope` that ends after exceptions too; also a decorator.

    # Arguments
        quantize: Whether binary variables give their codes (`True`) or their latent weights.
    """
    before = lq.context.should_quantize()
    try:
        with lq.context.quantized_scope(quantize):
            yield
    finally:
        _set(before)


def leave_quantized() -> None:
    """Turns the scope off, for an error on its way through a layer of Larq's."""
    _set(False)


def _set(quantize: bool) -> None:
    # Entered and never left: the one public way to set the value.
    lq.context.quantized_scope(quantize).__enter__()


@contextlib.contextmanager
def no_metrics() -> Iterator[None]:
    """Quantizers made here get no metrics, also within `larq.context.metrics_scope`."""
    metrics = lq.context.get_training_metrics()
    names = set(metrics)
    metrics.clear()
    try:
        yield
    finally:
        metrics.clear()
        metrics.update(names)
