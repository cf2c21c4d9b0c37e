"""Sums behind binary convolutions, which are taken over with them."""

import numpy as np
import pytest
from tflite_models import FLOAT, NONE, RELU, RELU6, RELU_N1_TO_1, Builder, Convolution

from siman_runtime import Interpreter, ModelError, library

BOUNDS = {NONE: (-np.inf, np.inf), RELU: (0, np.inf), RELU_N1_TO_1: (-1, 1), RELU6: (0, 6)}


def convolutions(count: int, **settings) -> list[Convolution]:
    return [
        Convolution(height=9, width=11, channels=48, filters=48, seed=seed, **settings)
        for seed in range(count)
    ]


def clipped(values: np.ndarray, activation: int = NONE) -> np.ndarray:
    return np.clip(values, *BOUNDS[activation]).astype(np.float32)


def ran(content: bytes, x: np.ndarray) -> "tuple[list[np.ndarray], list[str]]":
    """The outputs, and what was taken over."""
    interpreter = Interpreter(content, num_threads=2)
    library.profile(True)
    outputs = interpreter.predict(x)
    names = [name for _, name, _, _ in library.profiled()]
    library.profile(False)
    return outputs if isinstance(outputs, list) else [outputs], names


@pytest.mark.parametrize("activation", BOUNDS)
@pytest.mark.parametrize("pad_values", [0, 1])
@pytest.mark.parametrize("channels", [48, 40])
def test_residual_blocks(kernel, activation, pad_values, channels):
    """Three in a row: with an addend of the runtime's, in place, and into the runtime's memory."""
    ops = convolutions(3, pad_values=pad_values)
    b = Builder()
    for op in ops:
        op.channels = op.filters = channels
        op.__post_init__()
    tensor = first = b.tensor(ops[0].shape, FLOAT)
    x = expected = ops[0].sample()
    for op in ops:
        tensor = b.add(op.append(b, tensor), tensor, activation)
        expected = clipped(op.expected(expected) + expected, activation)
    (result,), names = ran(b.build([first], [tensor]), x)
    np.testing.assert_array_equal(result, expected)
    assert names.count("LceBconv2d") == 3
    assert "ADD" not in names


def test_sum_of_two_convolutions(kernel):
    one, other = convolutions(2)
    b = Builder()
    x = b.tensor(one.shape, FLOAT)
    (result,), names = ran(
        b.build([x], [b.add(one.append(b, x), other.append(b, x))]), one.sample()
    )
    np.testing.assert_array_equal(result, one.expected(one.sample()) + other.expected(one.sample()))
    assert "ADD" not in names


@pytest.mark.parametrize("is_twice", [True, False])
def test_sums_of_what_others_read_too(kernel, is_twice):
    (op,) = convolutions(1)
    b = Builder()
    x = b.tensor(op.shape, FLOAT)
    y = op.append(b, x)
    total = b.add(y, y) if is_twice else b.add(x, y)
    (sums, values), names = ran(b.build([x], [total, y]), op.sample())
    expected = op.expected(op.sample())
    np.testing.assert_array_equal(values, expected)
    np.testing.assert_array_equal(sums, expected + (expected if is_twice else op.sample()))
    assert names[-1] == "ADD"


def test_sum_that_waits_for_the_runtime(kernel):
    """Its other input is made by an op that is not taken over, behind the convolution."""
    (op,) = convolutions(1)
    b = Builder()
    x = b.tensor(op.shape, FLOAT)
    y = op.append(b, x)
    doubled = b.add(x, x)
    (result,), _ = ran(b.build([x], [b.add(y, doubled)]), op.sample())
    np.testing.assert_array_equal(result, op.expected(op.sample()) + 2 * op.sample())


def test_sums_that_are_left_to_the_runtime():
    (op,) = convolutions(1)
    b = Builder()
    x = b.tensor(op.shape, FLOAT)
    bias = np.arange(48, dtype=np.float32)
    (result,), names = ran(b.build([x], [b.add(op.append(b, x), b.constant(bias))]), op.sample())
    np.testing.assert_array_equal(result, op.expected(op.sample()) + bias)
    assert "ADD" not in names


def test_dimensions_that_no_longer_agree():
    (op,) = convolutions(1)
    b = Builder()
    x, other = b.tensor(op.shape, FLOAT), b.tensor(op.shape, FLOAT)
    interpreter = Interpreter(b.build([x, other], [b.add(op.append(b, x), other)]))
    with pytest.raises(ModelError, match="Resize all inputs of the model"):
        interpreter.resize((1, 5, *op.shape[2:]), op.shape)
    interpreter = Interpreter(b.build([x, other], [b.add(op.append(b, x), other)]))
    interpreter.resize((2, *op.shape[1:]), (2, *op.shape[1:]))
