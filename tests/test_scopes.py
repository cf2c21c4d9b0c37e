"""Larq leaves its scopes on after an exception; ours do not."""

import larq as lq
import numpy as np
import pytest

from siman_larq import zoo
from siman_larq._scopes import no_metrics, quantized
from siman_larq.training import Recipe, build_model


@pytest.mark.parametrize("before", [False, True])
@pytest.mark.parametrize("inside", [False, True])
def test_the_scope_ends_after_an_exception(before, inside):
    def interrupted():
        with quantized(inside):
            assert lq.context.should_quantize() is inside
            with lq.context.quantized_scope(not inside):
                raise RuntimeError

    with lq.context.quantized_scope(before):
        with pytest.raises(RuntimeError):
            interrupted()
        assert lq.context.should_quantize() is before
        with quantized(inside):
            pass
        assert lq.context.should_quantize() is before


def test_no_metrics():
    def interrupted():
        with no_metrics():
            assert not lq.context.get_training_metrics()
            raise RuntimeError

    with lq.context.metrics_scope(["flip_ratio"]):
        with pytest.raises(RuntimeError):
            interrupted()
        assert lq.context.get_training_metrics() == {"flip_ratio"}


def test_under_a_scope_that_was_left_on():
    """Latent weights stay what they are, and are copied."""
    recipe = Recipe(model="resnet20", precision="float32")
    expected = build_model(recipe, 10).get_weights()
    with lq.context.quantized_scope(True):
        model = build_model(recipe, 10)
        copy = zoo.binarize(model, input_quantizer="keep")
        assert lq.context.should_quantize()
    for made in (model, copy):
        for ours, theirs in zip(made.get_weights(), expected, strict=True):
            np.testing.assert_array_equal(ours, theirs)
