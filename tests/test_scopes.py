"""Larq leaves its scopes on after an exception; ours do not."""

import larq as lq
import pytest

from siman_larq._scopes import no_metrics, quantized


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
