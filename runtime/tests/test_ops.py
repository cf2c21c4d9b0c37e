"""Ops against their definition, bit for bit, for every instruction set."""

import functools

import numpy as np
import pytest
from ai_edge_litert.interpreter import Interpreter as LiteRt
from tflite_models import (
    BITS,
    BOOL,
    FLOAT,
    INT8,
    SAME,
    Convolution,
    Pool,
    random_convolution,
    random_pool,
)

from siman_runtime import Interpreter, delegate

RANDOM = 250


def outputs(op, threads: int = 1) -> np.ndarray:
    return Interpreter(op.model(), num_threads=threads).predict(op.sample())


@functools.cache
def random_cases(seed):
    """Convolutions with their files, samples and definitions' outputs, for all kernels alike."""
    rng = np.random.default_rng(seed)
    ops = [random_convolution(rng) for _ in range(RANDOM)]
    samples = [op.sample() for op in ops]
    return [(op, op.model(), x, op.expected(x)) for op, x in zip(ops, samples, strict=True)]


@pytest.mark.parametrize("threads", [1, 3])
def test_random_convolutions(kernel, threads):
    for op, model, x, expected in random_cases(threads):
        result = Interpreter(model, num_threads=threads).predict(x)
        assert result.dtype == expected.dtype
        np.testing.assert_array_equal(result, expected, err_msg=str(op))


@pytest.mark.parametrize("size", [(1, 1), (1, 2), (2, 2), (2, 5)])
@pytest.mark.parametrize("window", [(3, 3), (5, 3), (5, 5)])
def test_zero_padding_on_maps_smaller_than_the_filter(kernel, size, window):
    """Where LCE is wrong; the definition is Keras's, and `tests/test_runtime.py` holds to it."""
    op = Convolution(
        height=size[0], width=size[1], kernel=window, padding=SAME, pad_values=0, filters=20
    )
    np.testing.assert_array_equal(outputs(op), op.expected(op.sample()))


@pytest.mark.parametrize("filters", [9, 33])
@pytest.mark.parametrize("words", [15, 16, 31, 32, 62, 63, 64, 2025, 2026, 4096])
def test_counts_beyond_a_byte(kernel, words, filters):
    """All bits differ, in as many words as a byte or 16 bits can count, and more."""
    op = Convolution(height=1, width=9, channels=32 * words, kernel=(1, 1), filters=filters)
    op.weights[...] = -1
    x = np.ones((1, 1, 9, 32 * words), np.float32)
    result = Interpreter(op.model()).predict(x)
    np.testing.assert_array_equal(result, op.expected(x))


@pytest.mark.parametrize("largest", [1e38, 3e38, np.inf, np.nan])
@pytest.mark.parametrize("pad_values", [0, 1])
def test_multipliers_at_the_ends_of_their_range(kernel, largest, pad_values):
    """What cannot be doubled, and what has few digits, is multiplied as any other."""
    op = Convolution(channels=32, filters=40, pad_values=pad_values)
    op.multiplier[:8] = [1e-45, 3e-45, -1e-40, 1e-38, 1e-30, 0, -largest, largest]
    op.bias[:] = 0
    with np.errstate(over="ignore", invalid="ignore"):
        expected = op.expected(op.sample())
    np.testing.assert_array_equal(outputs_of_litert(op.model(), op.sample()), expected)


def outputs_of_litert(model, x):
    """Through LiteRT itself, since `predict` refuses NaN and infinite values."""
    interpreter = LiteRt(model_content=model, experimental_delegates=[delegate()])
    interpreter.allocate_tensors()
    interpreter.set_tensor(interpreter.get_input_details()[0]["index"], x)
    interpreter.invoke()
    return interpreter.get_tensor(interpreter.get_output_details()[0]["index"])


@pytest.mark.parametrize("value", [-0.0, 0.0, np.nan, -np.nan, np.inf, -np.inf, -1e-45])
def test_signs_of_special_values(kernel, value):
    op = Pool(height=4, width=4, channels=40, window=(1, 1), stride=(1, 1))
    x = np.full((1, 4, 4, 40), value, np.float32)
    np.testing.assert_array_equal(outputs_of_litert(op.model(), x), np.where(x < 0, -1, 1))


def test_random_pools(kernel):
    rng = np.random.default_rng(5)
    for _ in range(40):
        op = random_pool(rng)
        x = op.sample()
        signs = np.where(x < 0, -1, 1)
        tall, wide = outputs(op).shape[1:3]
        before = [
            max((out - 1) * s + k - n, 0) // 2 if op.padding == SAME else 0
            for out, s, k, n in zip((tall, wide), op.stride, op.window, x.shape[1:3], strict=True)
        ]
        expected = np.empty((len(x), tall, wide, op.channels))
        for row in range(tall):
            for column in range(wide):
                top, left = row * op.stride[0] - before[0], column * op.stride[1] - before[1]
                part = signs[
                    :,
                    max(top, 0) : top + op.window[0],
                    max(left, 0) : left + op.window[1],
                ]
                expected[:, row, column] = part.max(axis=(1, 2))
        if op.output is BOOL:
            expected = expected > 0
        elif op.output is INT8:
            step = np.floor(1 / np.float32(op.scale) + 0.5)
            expected = np.clip(op.zero_point + expected * step, -128, 127)
        np.testing.assert_array_equal(outputs(op), expected, err_msg=str(op))


@pytest.mark.parametrize("output", [FLOAT, INT8, BITS])
def test_threads_do_not_change_results(kernel, output):
    op = Convolution(height=30, width=31, channels=96, filters=80, output=output, batch=2)
    one = outputs(op)
    for threads in (2, 4, 7):
        np.testing.assert_array_equal(outputs(op, threads), one)
