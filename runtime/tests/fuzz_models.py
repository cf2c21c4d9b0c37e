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
    return [op.model() for op in ops] + [_residual_network()]


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
    if kind < 0.3:
        return _options_changed(rng)
    if kind < 0.35:
        return _data_moved(rng)
    content = seeds[rng.integers(len(seeds))]
    if kind < 0.42:
        return content[: int(rng.integers(len(content)))]
    return _bytes_changed(rng, content)
