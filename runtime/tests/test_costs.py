"""Small files that ask for much: costs go with the file and its images, or it is refused."""

import contextlib
import re
import resource
import time

import numpy as np
import pytest
from tflite_models import BITS, FLOAT, Builder, Convolution, pack

from siman_runtime import Interpreter, ModelError

MIB = 2**20


@contextlib.contextmanager
def at_most(mebibytes: int):
    """More memory than that, beside what is held already, cannot be had."""
    with open("/proc/self/statm") as file:
        held = int(file.read().split()[0]) * resource.getpagesize()
    before = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (held + mebibytes * MIB, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)


def test_zero_padding_of_a_large_filter():
    op = Convolution(height=80, width=76, channels=1, filters=1, kernel=(80, 76), pad_values=0)
    Interpreter(Convolution().model())  # what only the first one takes
    start = time.process_time()
    interpreter = Interpreter(op.model())
    assert time.process_time() - start < 0.5
    np.testing.assert_array_equal(interpreter.predict(op.sample()), op.expected(op.sample()))


@pytest.mark.parametrize("pad_values", [0, 1])
@pytest.mark.parametrize("size", [(1, 1), (3, 2)])
@pytest.mark.parametrize("dilation", [(32768, 32768), (16000, 1), (1, 20000), (2, 3)])
def test_taps_that_lie_outside_at_all_positions(kernel, pad_values, size, dilation):
    op = Convolution(
        height=size[0], width=size[1], kernel=(2, 3), dilation=dilation, pad_values=pad_values
    )
    with at_most(100):
        result = Interpreter(op.model()).predict(op.sample())
    np.testing.assert_array_equal(result, op.expected(op.sample()))


def test_wide_filter_on_a_tall_image():
    op = Convolution(height=500, width=1, channels=1, filters=1, kernel=(1, 32768))
    with at_most(50):
        result = Interpreter(op.model()).predict(op.sample())
    signs = op.weights[0, 0, :, 0].astype(int)  # the image lies under the middle one
    sums = signs.sum() + (np.where(op.sample() < 0, -1, 1) - 1) * signs[16383]
    np.testing.assert_allclose(result, sums * op.multiplier + op.bias, rtol=1e-4)


def network_of_bits(op: Convolution, count: int) -> bytes:
    """A convolution from bits to bits many times in a row."""
    b = Builder()
    x, y = b.tensor(op.shape, FLOAT), b.tensor(op.shape, FLOAT)
    bits = b.tensor((*op.shape[:3], 1), BITS)
    b.op("LceQuantize", [x], [bits])
    constants = [b.constant(pack(op.weights)), -1, -1, b.constant(op.thresholds)]
    for _ in range(count):
        made = b.tensor((*op.shape[:3], 1), BITS)
        b.op("LceBconv2d", [bits, *constants], [made], op.options)
        bits = made
    b.op("LceDequantize", [bits], [y])
    return b.build([x], [y])


def test_padded_copies_share_memory():
    """Each takes 17 MiB, nine times the image."""
    side = 700
    op = Convolution(side, side, channels=1, filters=1, dilation=(side, side), output=BITS)
    with at_most(100):
        Interpreter(network_of_bits(op, 20))


@pytest.mark.parametrize(("height", "count"), [(4096, 1), (1024, 4)])
def test_too_much_memory_is_refused(height, count):
    """Of a model, whether in one partition or in several, between which the runtime has an op."""
    op = Convolution(height=height, width=2048, channels=32, filters=32)
    b = Builder()
    shape = (*op.shape[:3], 1)
    x = bits = b.tensor(shape, BITS)
    constants = [b.constant(pack(op.weights)), b.constant(op.multiplier), b.constant(op.bias), -1]
    for _ in range(count):
        y, made, copy = b.tensor(op.shape, FLOAT), b.tensor(shape, BITS), b.tensor(shape, BITS)
        b.op("LceBconv2d", [bits, *constants], [y], op.options)
        b.op("LceQuantize", [y], [made])
        b.reshape(made, copy)
        bits = copy
    share = height * 2048 * 32 * 4 // MIB
    padded = -(-(height + 2) * 2050 * 4 // MIB)
    told = (
        f"LceBconv2d: for an output of 1x{height}x2048x32 it needs {share + padded} MiB, and all "
        "binary ops of the model 1057 MiB; at most 1024 MiB is allowed. Give the model "
        "smaller inputs or a smaller batch."
    )
    with pytest.raises(ModelError, match=re.escape(told)):
        Interpreter(b.build([x], [bits]))


@pytest.mark.parametrize("shift", [0, 4, 1, 2])
def test_constants_behind_the_tables(shift):
    op = Convolution()
    b = Builder()
    x = b.tensor(op.shape, FLOAT)
    content = b.build_with_data_behind([x], [op.append(b, x)], shift)
    if shift % 4:
        with pytest.raises(ModelError, match="constant does not lie at a multiple of 4 bytes"):
            Interpreter(content)
    else:
        result = Interpreter(content).predict(op.sample())
        np.testing.assert_array_equal(result, op.expected(op.sample()))
