"""Float ops between binary ones, which are taken with them: as the runtime itself computes them."""

import platform

import numpy as np
import pytest
from ai_edge_litert.interpreter import Interpreter as LiteRt
from ai_edge_litert.interpreter import OpResolverType
from float_ops import (
    binary,
    centred,
    clip,
    max_pool,
    mean,
    numbers,
    pad,
    prelu,
    sliced,
    then,
)
from tflite_models import (
    BITS,
    FLOAT,
    INT8,
    NONE,
    RELU,
    RELU6,
    RELU_N1_TO_1,
    Builder,
    Convolution,
    pack,
    words,
)

from siman_runtime import Interpreter, LibraryError, ModelError, delegate, library

SHAPES = [(1, 5, 6, 48), (1, 3, 2, 7), (1, 9, 8, 16), (2, 4, 4, 130)]
ACTIVATIONS = [NONE, RELU, RELU_N1_TO_1, RELU6]
# Without subnormal numbers, which the runtime's XNNPACK takes for 0.
SPECIAL = [-0.0, 0.0, np.nan, np.inf, -np.inf, 1e-30, -1e-30, 1.0, -1.0, 6.0]


def sample(shape, special=True):
    x = np.random.default_rng(1).normal(0, 3, shape).astype(np.float32)
    if special:
        x.reshape(-1)[: len(SPECIAL)] = SPECIAL
    return x


def channels(shape):
    return numbers(shape[-1])


def cases(shape):
    """Ops that must be taken, by a name."""
    c = shape[-1]
    for name in ("ADD", "SUB", "MUL"):
        for activation in ACTIVATIONS:
            yield f"{name} {activation}", binary(name, channels(shape), activation=activation)
        yield f"{name} one", binary(name, numbers(1))
        yield f"{name} scalar", binary(name, numbers())
        yield f"{name} of rank 4", binary(name, numbers(1, 1, 1, c), is_first=False)
        yield f"{name} from", binary(name, channels(shape), is_first=False)
        yield f"{name} itself", binary(name)
    for name in ("RELU", "RELU6", "RELU_N1_TO_1"):
        yield name, clip(name)
    yield "PRELU", prelu(np.abs(numbers(1, 1, c)))
    yield "PRELU of both signs", then(binary("ADD", channels(shape)), prelu(numbers(1, 1, c)))
    yield "MAX_POOL_2D same", max_pool((2, 2), (2, 2), 0)
    yield "MAX_POOL_2D valid", max_pool((2, 2), (1, 2), 1, RELU6)
    yield "MAX_POOL_2D overlapping", max_pool((3, 3), (2, 1), 0)
    yield "STRIDED_SLICE", sliced([0, 0, 0, 0], [0, 0, 0, 0], [1, 2, 2, 1])
    yield "STRIDED_SLICE from 1", sliced([0, 1, 0, 0], [0, 3, 2, 0], [1, 1, 1, 1], end_mask=9)
    yield "PAD", pad((0, 0), (0, 0), (0, 0), (3, 5))
    yield "PAD all", pad((0, 0), (1, 0), (2, 3), (0, 1))
    yield (
        "many",
        then(
            binary("MUL", channels(shape)),
            binary("ADD", channels(shape)),
            prelu(np.abs(numbers(1, 1, c))),
            binary("ADD"),
            clip("RELU6"),
        ),
    )


def means():
    yield "MEAN rows", mean([1, 2])
    yield "MEAN channels", mean([3])
    yield "MEAN all", mean([-1, 1, 2])
    yield "MEAN without axes", mean([1, 2], keeps=False)
    yield "MEAN of one axis", mean([2])


def not_taken(shape):
    """Of other meanings, or whose meaning is not told by the file."""
    _, height, width, c = shape
    yield "by row", binary("ADD", numbers(height, 1, 1))
    yield "by position", binary("SUB", numbers(height, width, 1))
    yield "all", binary("MUL", numbers(height, width, c))
    yield "slopes by position", prelu(numbers(height, width, c))
    yield "MEAN over samples", mean([0, 1])
    yield "MEAN over distant axes", mean([1, 3])
    yield "backwards", sliced([0, 0, 0, 0], [0, 0, 0, 0], [1, -1, 1, 1], begin_mask=15)
    yield "of channels", sliced([0, 0, 0, 1], [0, 0, 0, 0], [1, 1, 1, 2], begin_mask=7)
    yield "samples", pad((1, 0), (0, 0), (0, 0), (0, 0))
    yield "strides beyond windows", max_pool((2, 1), (3, 1), 1)


def ran(content, x, delegates):
    interpreter = LiteRt(model_content=content, experimental_delegates=delegates)
    interpreter.allocate_tensors()
    library.profile(True)
    interpreter.set_tensor(interpreter.get_input_details()[0]["index"], x)
    interpreter.invoke()
    names = [name for _, name, _, _ in library.profiled()]
    library.profile(False)
    return [interpreter.get_tensor(d["index"]) for d in interpreter.get_output_details()], names


def stock(append, x):
    b = Builder()
    place = b.tensor(x.shape, FLOAT)
    return ran(b.build([place], [append(b, place)]), x, [])[0][0]


def taken(append, x):
    """What goes into an LceQuantize, its signs, and what was taken."""
    b = Builder()
    place = b.tensor(x.shape, FLOAT)
    y = append(b, place)
    shape = list(b.graph.tensors[y].shape)
    bits = b.tensor([*shape[:-1], words(shape[-1])], BITS)
    signs = b.tensor(shape, FLOAT)
    b.op("LceQuantize", [y], [bits])
    b.op("LceDequantize", [bits], [signs])
    (values, found), names = ran(b.build([place], [y, signs]), x, [delegate()])
    np.testing.assert_array_equal(found, np.where(values < 0, -1, 1))
    return values, names[:-2]


@pytest.mark.parametrize("shape", SHAPES)
def test_ops_are_the_runtime_s(kernel, shape):
    for name, append in cases(shape):
        x = sample(shape, special=not name.startswith("MAX_POOL"))
        values, names = taken(append, x)
        assert names, name
        expected = stock(append, x)
        np.testing.assert_array_equal(values, expected, err_msg=name)
        if platform.machine() != "x86_64" and not (expected < 0).any():
            continue  # with a bound at 0 XNNPACK for aarch64 makes -0 a +0; no bit depends on it
        is_zero = (values == 0) & ("PRELU of" not in name)
        np.testing.assert_array_equal(
            np.signbit(values[is_zero]), np.signbit(expected[is_zero]), err_msg=name
        )


@pytest.mark.parametrize("shape", SHAPES)
def test_means_but_for_rounding(kernel, shape):
    for name, append in means():
        values, names = taken(append, sample(shape, special=False))
        assert names == ["MEAN"], name
        expected = stock(append, sample(shape, special=False))
        np.testing.assert_allclose(values, expected, rtol=1e-5, atol=1e-6, err_msg=name)


@pytest.mark.parametrize("shape", SHAPES)
def test_ops_that_are_left_to_the_runtime(shape):
    for name, append in not_taken(shape):
        x = sample(shape, special=False)
        values, names = taken(append, x)
        assert names == [], name
        np.testing.assert_allclose(values, stock(append, x), rtol=1e-5, atol=1e-6, err_msg=name)


def block(batch=1):
    """Two blocks as of ResNet-18 and -20, with a transition of bits and one of values."""
    one = Convolution(height=8, width=6, channels=64, filters=64, seed=1)
    two = Convolution(height=8, width=6, channels=64, filters=64, stride=(2, 2), seed=2)
    side = Convolution(
        height=7, width=5, channels=64, filters=64, kernel=(1, 1), stride=(2, 2), seed=3
    )
    b = Builder()
    for op in (one, two, side):
        op.batch = batch
    x = b.tensor(one.shape, FLOAT)
    clipped = clip("RELU_N1_TO_1")(b, one.append(b, centred(b, x)))
    y = prelu(np.abs(numbers(1, 1, 64)))(b, b.add(clipped, x))
    y = then(binary("MUL", channels([64])), binary("ADD", channels([64])))(b, y)
    bits, floats = b.tensor((batch, 8, 6, 2), BITS), b.tensor(one.shape, FLOAT)
    b.op("LceQuantize", [centred(b, y)], [bits])
    b.op("LceDequantize", [bits], [floats])
    first = b.tensor((batch, 4, 3, 64), FLOAT)
    constants = [pack(two.weights), two.multiplier, two.bias]
    b.op("LceBconv2d", [bits, *map(b.constant, constants), -1], [first], two.options)
    cut = sliced([0, 1, 1, 0], [0, 0, 0, 0], [1, 1, 1, 1])(b, floats)
    total = b.add(first, side.append(b, cut), RELU_N1_TO_1)
    total = b.add(total, sliced([0] * 4, [0] * 4, [1, 2, 2, 1])(b, y))
    last = Convolution(height=4, width=3, channels=64, filters=32, batch=batch, seed=4)
    return b.build([x], [last.append(b, centred(b, total))]), one.shape


@pytest.mark.parametrize("threads", [1, 3])
def test_blocks(kernel, threads, monkeypatch):
    """Small numbers with few digits: their means are exact, and so all must be."""
    content, shape = block()
    x = np.random.default_rng(3).integers(-8, 9, (5, *shape[1:])).astype(np.float32) / 4
    whole = Interpreter(content, num_threads=threads)
    library.profile(True)
    outputs = whole.predict(x)
    names = [name for _, name, _, _ in library.profiled()]
    library.profile(False)
    assert "LceDequantize" not in names
    assert {"SUB", "RELU"}.isdisjoint(names)
    batch = Interpreter(content, num_threads=threads, trace=True)
    batch.resize((5, *shape[1:]))
    np.testing.assert_array_equal(batch.predict(x), outputs)
    assert {len(bits) for bits in batch.traced.values()} == {5}
    monkeypatch.setenv("SIMAN_FUSE", "0")
    apart = Interpreter(content, num_threads=threads, trace=True)
    np.testing.assert_array_equal(apart.predict(x), outputs)
    assert len(apart.traced) == 1 + len(batch.traced)  # an LceDequantize before a slice of bits
    for node, bits in batch.traced.items():
        np.testing.assert_array_equal(apart.traced[node], bits)


def test_large_maps_are_shared_among_threads(kernel):
    """Up to 65,536 values, as in the other tests, one thread takes by itself."""
    layer = Convolution(height=40, width=44, channels=64, filters=32, kernel=(1, 1))
    b = Builder()
    x = b.tensor(layer.shape, FLOAT)
    content = b.build([x], [layer.append(b, centred(b, x))])
    values = np.random.default_rng(5).integers(-8, 9, layer.shape).astype(np.float32) / 4
    outputs = []
    for threads in (1, 3):
        interpreter = Interpreter(content, num_threads=threads, trace=True)
        outputs.append(interpreter.predict(values))
        (bits,) = interpreter.traced.values()
        np.testing.assert_array_equal(bits, pack(values - values.mean(dtype=np.float64)))
    np.testing.assert_array_equal(*outputs)


def partitions(content):
    interpreter = LiteRt(
        model_content=content,
        experimental_delegates=[delegate()],
        experimental_op_resolver_type=OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES,
    )
    return sum(entry["op_name"] == "DELEGATE" for entry in interpreter._get_ops_details())


def test_a_network_is_one_partition(monkeypatch):
    content, _ = block()
    assert partitions(content) == 1
    monkeypatch.setenv("SIMAN_FUSE", "0")
    assert partitions(content) == 4


@pytest.mark.parametrize("into", [BITS, INT8])
@pytest.mark.parametrize("opened", [BITS, INT8])
def test_slices_of_what_are_no_bits(opened, into):
    """A damaged file, which is refused as it is without a slice."""
    b = Builder()
    x = b.tensor((1, 4, 4, 2), opened)
    y = b.tensor((1, 4, 4, 64), FLOAT)
    b.op("LceDequantize", [x], [y])
    bits = b.tensor((1, 2, 2, 2), into)
    b.op("LceQuantize", [sliced([0] * 4, [0] * 4, [1, 2, 2, 1])(b, y)], [bits])
    content = b.build([x], [bits])
    if opened is into is BITS:
        words = np.arange(32, dtype=BITS).reshape(1, 4, 4, 2)
        np.testing.assert_array_equal(Interpreter(content).predict(words), words[:, ::2, ::2])
        return
    with pytest.raises(ModelError, match="put is int32. The model is damaged"):
        Interpreter(content)


def test_a_setting_that_is_unknown(monkeypatch):
    monkeypatch.setenv("SIMAN_FUSE", "2")
    with pytest.raises(LibraryError, match="SIMAN_FUSE=2: 1, as without"):
        Interpreter(block()[0])
