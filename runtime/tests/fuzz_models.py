"""Damaged and hostile models, each from a seed and its number."""

import numpy as np
from tflite_models import (
    BITS,
    BOOL,
    FLOAT,
    INT8,
    NONE,
    SAME,
    Builder,
    Convolution,
    Pool,
    pack,
    random_convolution,
    words,
)

__all__ = ["hostile_model", "large_model", "seeds"]

_EXTREME = [
    -(2**31),
    -(2**15),
    -1,
    0,
    1,
    2,
    3,
    31,
    33,
    255,
    2**15,
    2**16 + 1,
    2**20,
    2**31 - 1,
    2**40,
]


def seeds() -> "list[bytes]":
    ops = [
        Convolution(height=5, width=6, channels=40, filters=20, seed=1),
        Convolution(height=5, width=6, channels=64, filters=8, groups=2, output=INT8, seed=2),
        Convolution(height=7, width=5, channels=33, filters=40, output=BITS, stride=(2, 1), seed=3),
        Convolution(height=6, width=6, channels=32, filters=16, pad_values=0, dilation=(2, 1)),
        Pool(height=6, width=5, channels=40, output=INT8),
        Pool(height=6, width=5, channels=40, window=(3, 2), padding=0, output=BOOL),
    ]
    return [op.model() for op in ops] + [_residual_network(), _block(), _cut()]


def _cut() -> bytes:
    """A slice between binary ops, which is one of bits."""
    b = Builder()
    op = Convolution(height=2, width=3, channels=32, filters=8, kernel=(1, 1))
    x, bits = b.tensor((1, 5, 6, 32), FLOAT), b.tensor((1, 5, 6, 1), BITS)
    signs = b.tensor((1, 5, 6, 32), FLOAT)
    b.op("LceQuantize", [x], [bits])
    b.op("LceDequantize", [bits], [signs])
    places = [b.constant(np.array(v, np.int32)) for v in ([0, 1, 0, 0], [0] * 4, [1, 2, 2, 1])]
    cut = b.builtin(
        "STRIDED_SLICE", [signs, *places], op.shape, "StridedSliceOptions", beginMask=9, endMask=15
    )
    return b.build([x], [op.append(b, cut)])


def _block() -> bytes:
    """The float ops that are taken, between two convolutions."""
    one, two = (Convolution(height=6, width=5, channels=32, filters=32, seed=s) for s in range(2))
    b = Builder()
    x = b.tensor(one.shape, FLOAT)
    y = b.builtin("RELU_N1_TO_1", [one.append(b, x)], one.shape)
    factors = [b.constant(v) for v in (one.multiplier, one.bias, one.bias[None, None])]
    y = b.builtin("MUL", [y, factors[0]], one.shape, "MulOptions")
    y = b.builtin("ADD", [y, factors[1]], one.shape, "AddOptions")
    y = b.builtin("PRELU", [y, factors[2]], one.shape)
    y = b.builtin("ADD", [y, x], one.shape, "AddOptions")
    places = [b.constant(np.array(v, np.int32)) for v in ([0] * 4, [0] * 4, [1, 2, 2, 1])]
    small = b.builtin(
        "STRIDED_SLICE", [y, *places], [1, 3, 3, 32], "StridedSliceOptions", beginMask=9, endMask=15
    )
    around = b.constant(np.array([[0, 0], [1, 2], [0, 2], [0, 0]], np.int32))
    wide = b.builtin("PAD", [small, around], one.shape, "PadOptions")
    pool = {"filterHeight": 2, "filterWidth": 2, "strideH": 1, "strideW": 1}
    y = b.builtin("MAX_POOL_2D", [wide], one.shape, "Pool2DOptions", **pool)
    y = _centred(b, y, one.shape)
    return b.build([x], [two.append(b, y)])


def _centred(b: Builder, x: int, shape) -> int:
    """Less its mean, as of `sample_sign`."""
    means = x
    for axes, left in (([1, 2], (shape[0], 1, 1, shape[3])), ([3], (shape[0], 1, 1, 1))):
        where = b.constant(np.array(axes, np.int32))
        means = b.builtin("MEAN", [means, where], left, "ReducerOptions", keepDims=True)
    return b.builtin("SUB", [x, means], shape, "SubOptions")


def _residual_network() -> bytes:
    ops = [Convolution(height=5, width=6, channels=32, filters=32, seed=s) for s in range(3)]
    b = Builder()
    tensor = x = b.tensor(ops[0].shape, FLOAT)
    for activation, op in enumerate(ops):
        tensor = b.add(op.append(b, tensor), tensor, activation)
    return b.build([x], [tensor])


def _bytes_changed(rng: np.random.Generator, content: bytes) -> bytes:
    data = bytearray(content)
    for _ in range(int(rng.integers(1, 4))):
        at = int(rng.integers(8, len(data)))
        kind = rng.random()
        if kind < 0.5:
            data[at] ^= 1 << int(rng.integers(8))
        elif kind < 0.8:
            data[at] = int(rng.integers(256))
        elif kind < 0.97:
            value = int(rng.choice(_EXTREME)) & 0xFFFFFFFF
            data[at : at + 4] = value.to_bytes(4, "little")[: len(data) - at]
        elif len(data) > 64:
            length = int(rng.integers(1, 32))
            del data[at : at + length]
    return bytes(data)


def _options_changed(rng: np.random.Generator) -> bytes:
    op = Convolution(height=4, width=5, channels=40, filters=8, seed=int(rng.integers(9)))
    options = dict(op.options)
    for name in rng.choice(list(options), int(rng.integers(3))):
        value = rng.choice(_EXTREME) if rng.random() < 0.5 else rng.integers(4)
        options[str(name)] = int(value)
    if rng.random() < 0.03:
        del options[str(rng.choice(list(options)))]
    if rng.random() < 0.03:
        options["unknown"] = 1
    b = Builder()
    shape = [1, 4, 5, 40]
    bits, weights = [1, 4, 5, words(40)], pack(op.weights)
    filter_shape = list(weights.shape)
    if rng.random() < 0.4:
        target = [shape, bits, filter_shape][rng.integers(3)]
        value = rng.choice(_EXTREME[:-1]) if rng.random() < 0.5 else rng.integers(1, 9)
        target[rng.integers(4)] = int(value)
    x, packed = b.tensor(shape, FLOAT), b.tensor(bits, BITS)
    parameters = [op.multiplier, op.bias, op.thresholds]
    for index in np.flatnonzero(rng.random(3) < 0.03):
        parameters[index] = parameters[index][: int(rng.integers(1, 8))]
    inputs = [packed, b.tensor(filter_shape, BITS, data=weights)]
    inputs += [b.constant(p) if rng.random() < 0.97 else -1 for p in parameters]
    if rng.random() < 0.03:
        inputs = inputs[: int(rng.integers(6))]
    y = b.tensor([1, 4, 5, 8], [FLOAT, INT8, BITS, BOOL][rng.integers(4)], scale=0.5)
    b.op("LceQuantize", [x], [packed])
    names = ["LceBconv2d", "LceBMaxPool2d", "LceDequantize", "LceNew"]
    name = str(rng.choice(names, p=[0.94, 0.02, 0.02, 0.02]))
    b.op(name, inputs, [y], options, version=2 if rng.random() < 0.05 else 1)
    return b.build([x], [y])


def _data_moved(rng: np.random.Generator) -> bytes:
    """Constants at any place behind the tables, and among the outputs."""
    b = Builder()
    op = random_convolution(rng)
    quantized = {"scale": op.in_scale, "zero_point": op.in_zero_point}
    x = b.tensor(op.shape, op.input, **(quantized if op.input is INT8 else {}))
    y = op.append(b, x)
    if rng.random() < 0.3:
        made = int(rng.choice([operator.outputs[0] for operator in b.graph.operators]))
        b.give_data(made)
    if rng.random() < 0.3:
        return b.build([x], [y])
    return b.build_with_data_behind([x], [y], int(rng.integers(16)))


_FLOAT_OPS = {
    "ADD": "AddOptions",
    "SUB": "SubOptions",
    "MUL": "MulOptions",
    "PRELU": "",
    "RELU6": "",
    "MEAN": "ReducerOptions",
    "MAX_POOL_2D": "Pool2DOptions",
    "STRIDED_SLICE": "StridedSliceOptions",
    "PAD": "PadOptions",
}
_OPTIONS = {
    "AddOptions": ["fusedActivationFunction"],
    "SubOptions": ["fusedActivationFunction"],
    "MulOptions": ["fusedActivationFunction"],
    "ReducerOptions": ["keepDims"],
    "Pool2DOptions": ["padding", "filterHeight", "filterWidth", "strideH", "strideW"],
    "StridedSliceOptions": ["beginMask", "endMask", "shrinkAxisMask"],
}


def _float_ops(rng: np.random.Generator) -> bytes:
    """One of the runtime's ops before a convolution, with whatever constants, shapes and options;
    inputs and options there are, or LiteRT itself ends the process."""
    b = Builder()
    op = Convolution(height=4, width=3, channels=32, filters=8, seed=int(rng.integers(9)))
    x = b.tensor(op.shape, FLOAT)
    name = str(rng.choice(list(_FLOAT_OPS)))
    more = {"RELU6": 0, "MAX_POOL_2D": 0, "STRIDED_SLICE": 3}.get(name, 1)
    inputs = [x, *(_second(rng, b, name, op.shape, x) for _ in range(more))]
    shape = list(op.shape)
    if rng.random() < 0.1:
        shape[rng.integers(4)] = int(rng.integers(1, 9))
    kind = _FLOAT_OPS[name]
    values = {key: int(rng.integers(0, 3)) for key in _OPTIONS.get(kind, [])}
    if "shrinkAxisMask" in values:
        values |= {"beginMask": 9, "endMask": 15 if rng.random() < 0.5 else 9}
        values["shrinkAxisMask"] = int(rng.random() < 0.1)
    if values and rng.random() < 0.1:
        values[str(rng.choice(list(values)))] = int(rng.choice([-(2**31), -1, 2**31 - 1, 100]))
    if "keepDims" in values:
        values["keepDims"] = values["keepDims"] > 0
    for key in ("padding", "fusedActivationFunction"):
        if key in values:
            values[key] = values[key] % 128
    if rng.random() < 0.05:
        y = b.tensor(shape, FLOAT)  # somebody's own op of that name
        b.op(name, inputs, [y])
    else:
        y = b.builtin(name, inputs, shape, kind, **values)
    if rng.random() < 0.05:
        b.give_data(y)
    return b.build([x], [op.append(b, y), y][: int(rng.integers(1, 3))])


def _second(rng: np.random.Generator, b: Builder, name: str, shape, x: int) -> int:
    """An input behind the first: constants of many shapes, axes, sizes, or no constant."""
    if rng.random() < 0.05:
        return x
    if rng.random() < 0.05:
        name = str(rng.choice(list(_FLOAT_OPS)))
    if name == "MEAN":
        axes = rng.permutation(4)[: int(rng.integers(0, 5))] - 4 * rng.integers(2)
        if rng.random() < 0.1:
            axes = rng.choice([-5, -1, 0, 1, 4, 2**31 - 2, 2**31 - 1], int(rng.integers(1, 3)))
        return b.constant(axes.astype(np.int32))
    if name == "STRIDED_SLICE":
        return b.constant(rng.integers(0 if rng.random() < 0.9 else -2, 3, 4).astype(np.int32))
    if name == "PAD":
        sizes = rng.integers(0 if rng.random() < 0.9 else -2, 3, (4, 2))
        if rng.random() < 0.8:
            sizes[0] = 0
        return b.constant(sizes.astype(np.int32))
    last = [shape[-1], shape[-1], 1, int(rng.integers(1, 40))][rng.integers(4)]
    before = [1] * int(rng.integers(0, 4))
    if rng.random() < 0.2:
        before = [int(rng.choice([1, 3, 4])) for _ in range(int(rng.integers(0, 5)))]
    return b.constant(rng.normal(0, 1, [*before, last]).astype(np.float32))


def large_model(seed: int, index: int) -> Convolution:
    """Large filters and dilations on small images: time and memory must go with the file."""
    rng = np.random.default_rng([seed, index])
    op = random_convolution(rng)
    sides = [int(2 ** rng.uniform(0, 7)) for _ in range(2)]
    if rng.random() < 0.1:
        sides = [1, int(2 ** rng.uniform(7, 15))]
    rng.shuffle(sides)
    op.kernel = (sides[0], sides[1])
    op.dilation = tuple(int(2 ** rng.uniform(0, 15)) if rng.random() < 0.5 else 1 for _ in sides)
    op.padding, op.batch, op.filters = SAME, 1, op.groups * int(rng.integers(1, 4))
    if op.pad_values == 0:
        op.output, op.activation = FLOAT, NONE
    op.channels = min(op.channels, 64 * op.groups) if op.groups == 1 else 32 * op.groups
    op.height, op.width = (int(2 ** rng.uniform(0, 6)) for _ in range(2))
    op.__post_init__()
    return op


def hostile_model(seed: int, index: int, seeds: "list[bytes]") -> bytes:
    """One of those that `fuzz.py` runs; `seeds` as the function of that name gives them."""
    rng = np.random.default_rng([seed, index])
    kind = rng.random()
    if kind < 0.25:
        return _options_changed(rng)
    if kind < 0.3:
        return _data_moved(rng)
    if kind < 0.45:
        return _float_ops(rng)
    content = seeds[rng.integers(len(seeds))]
    if kind < 0.5:
        return content[: int(rng.integers(len(content)))]
    return _bytes_changed(rng, content)
