"""`trace=True`: the bits that go into ops, of the right run and thread."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from tflite_models import BITS, FLOAT, Builder, Convolution, pack

import siman_runtime
from siman_runtime import Interpreter, ModelError, library

FIRST = Convolution(height=9, width=7, channels=40, filters=48, output=BITS)
SECOND = Convolution(height=9, width=7, channels=48, filters=48, seed=1)


def two(batch=1):
    """A model with operators quantize, convolution, dequantize, quantize, convolution, add."""
    b = Builder()
    x = b.tensor((batch, *FIRST.shape[1:]), FLOAT)
    for op in (FIRST, SECOND):
        op.batch = batch
    middle = FIRST.append(b, x)
    return b.build([x], [b.add(SECOND.append(b, middle), middle)])


def samples(count, seed=1):
    return np.random.default_rng(seed).normal(size=(count, *FIRST.shape[1:])).astype(np.float32)


def assert_traced(interpreter, x):
    middle = FIRST.expected(x)
    outputs = interpreter.predict(x)
    np.testing.assert_array_equal(outputs, SECOND.expected(middle) + middle)
    assert list(interpreter.traced) == [1, 2, 4]
    for values, given in zip((x, middle, middle), interpreter.traced.values(), strict=True):
        np.testing.assert_array_equal(given, pack(values))


@pytest.mark.parametrize("batch", [1, 4])
def test_the_bits_of_each_convolution_by_its_operator(kernel, batch):
    interpreter = Interpreter(two(batch), num_threads=2, trace=True)
    assert_traced(interpreter, samples(6))
    assert_traced(interpreter, samples(3, seed=2))  # of the last run only


@pytest.mark.parametrize("shape", [(2, 40), (2, 3, 5, 3, 2, 33)])
def test_bits_that_go_into_float_ops(shape):
    b = Builder()
    x, y = b.tensor(shape, FLOAT), b.tensor(shape, FLOAT)
    bits = b.tensor((*shape[:-1], 2), BITS)
    b.op("LceQuantize", [x], [bits])
    b.op("LceDequantize", [bits], [y])
    interpreter = Interpreter(b.build([x], [b.add(x, y)]), trace=True)
    values = np.random.default_rng(1).normal(size=(3, *shape[1:])).astype(np.float32)
    interpreter.predict(values)
    assert list(interpreter.traced) == [1]
    np.testing.assert_array_equal(interpreter.traced[1], pack(values))


def test_without_it_nothing_is_kept():
    model = two()
    traced, plain = Interpreter(model, trace=True), Interpreter(model)
    x = samples(2)
    np.testing.assert_array_equal(traced.predict(x), plain.predict(x))
    assert library.traced() == []
    with pytest.raises(ValueError, match="make the interpreter with trace=True"):
        _ = plain.traced


def test_each_thread_has_its_own():
    """Of one interpreter, and of others that run at the same time and share a delegate."""
    interpreter = Interpreter(two(), num_threads=2, trace=True)
    with ThreadPoolExecutor(4) as threads:
        for _ in threads.map(lambda seed: assert_traced(interpreter, samples(3, seed)), range(40)):
            pass


def test_after_an_error(monkeypatch):
    interpreter = Interpreter(two(), trace=True)
    x = samples(1)
    interpreter.predict(x)

    def fail():
        raise RuntimeError("siman-runtime: broken")

    with monkeypatch.context() as patch:
        patch.setattr(interpreter.litert, "invoke", fail)
        with pytest.raises(ModelError, match="broken"):
            interpreter.predict(x)
    assert interpreter.traced == {}
    assert_traced(interpreter, x)


def test_a_shared_delegate(monkeypatch):
    shared = siman_runtime.delegate()
    monkeypatch.setattr(library, "delegate", lambda: shared)
    model = two()
    with ThreadPoolExecutor(3) as threads:

        def run(seed):
            interpreter = Interpreter(model, num_threads=2, trace=seed % 2 == 0)
            x = samples(4, seed)
            if seed % 2:
                interpreter.predict(x)
            else:
                assert_traced(interpreter, x)

        for _ in threads.map(run, range(12)):
            pass
