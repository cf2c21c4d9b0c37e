"""Writes the models of `corpus`, which fuzz_ops.cc reads: usage make_corpus.py FOLDER."""

import sys
from pathlib import Path

import numpy as np
from flatbuffers import flexbuffers

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from tflite_models import (
    BITS,
    BOOL,
    FLOAT,
    INT8,
    NONE,
    RELU6,
    SAME,
    Convolution,
    Pool,
    pack,
    words,
)

_TYPES = [FLOAT, INT8, BOOL, BITS]
_OPS = ["LceQuantize", "LceDequantize", "LceBconv2d", "LceBMaxPool2d", "ADD", "SUB", "MUL", "RELU"]
_OPS += ["RELU_N1_TO_1", "RELU6", "PRELU", "MEAN", "MAX_POOL_2D", "STRIDED_SLICE", "PAD"]


class Model:
    """Bytes in the order in which model.h reads them."""

    def __init__(self, odd: int = 0) -> None:
        self.odd = odd  # of constants: 251 and more shift them, 241 to 250 change their size
        self.tensors: list[bytes] = []
        self.nodes: list[bytes] = []
        self.resizes: list[tuple[int, int, int]] = []  # (tensor, axis, size)

    def tensor(self, shape, dtype, data: bytes = b"") -> int:
        head = [_TYPES.index(dtype), len(shape), *shape, 0, 128 + 3, len(data)]
        self.tensors.append(bytes(head) + data + bytes([self.odd if data else 0]))
        return len(self.tensors) - 1

    def constant(self, values: np.ndarray) -> int:
        data = values.tobytes()[:240]  # repeated to the end
        return self.tensor(values.shape, values.dtype.type, data)

    def op(self, name: str, inputs, output: int, options: "bytes | dict" = b"") -> int:
        if isinstance(options, dict):
            options = bytes(flexbuffers.Dumps(options))
        head = [_OPS.index(name), len(inputs), *(i + 1 for i in inputs), 1, output + 1]
        self.nodes.append(bytes([*head, len(options)]) + options)
        return output

    def build(self, *kept: int) -> bytes:
        parts = [bytes([len(self.tensors)]), *self.tensors, bytes([len(self.nodes)]), *self.nodes]
        ends = [*(index + 1 for index in kept), 0, len(self.resizes)]
        return b"".join(parts) + bytes(ends) + b"".join(map(bytes, self.resizes))


def append(model: Model, op: Convolution, x: int) -> int:
    """The same ops as `Convolution.append`."""
    bits = model.tensor((*op.shape[:3], words(op.channels)), BITS)
    model.op("LceQuantize", [x], bits)
    result = (op.batch, *op.output_size)
    filters = model.constant(pack(op.weights))
    if op.output is BITS:
        inputs = [bits, filters, -1, -1, model.constant(op.thresholds)]
        y = model.tensor((*result, words(op.filters)), BITS)
    else:
        inputs = [bits, filters, model.constant(op.multiplier), model.constant(op.bias), -1]
        y = model.tensor((*result, op.filters), op.output)
    return model.op("LceBconv2d", inputs, y, op.options)


def convolution(op: Convolution, odd: int = 0) -> bytes:
    model = Model(odd)
    y = append(model, op, model.tensor(op.shape, op.input))
    if op.output is BITS:
        floats = model.tensor((op.batch, *op.output_size, op.filters), FLOAT)
        y = model.op("LceDequantize", [y], floats)
    return model.build(y)


def residual(activation: int, *, is_kept: bool) -> bytes:
    """Two convolutions, each with its input added; with the first one's output kept or not."""
    model = Model()
    shape = (1, 4, 5, 20)
    x = y = model.tensor(shape, FLOAT)
    kept = []
    for seed in range(2):
        made = append(model, Convolution(4, 5, channels=20, filters=20, seed=seed), y)
        kept += [made] if is_kept and not seed else []
        y = model.op("ADD", [made, y], model.tensor(shape, FLOAT), bytes([activation]))
    return model.build(*kept, x, y)


def integers(model: Model, *values) -> int:
    return model.constant(np.array(values, BITS))


def apply(model: Model, name: str, x: int, shape, *more: int, options: bytes = b"") -> int:
    return model.op(name, [x, *more], model.tensor(shape, FLOAT), options)


def less_means(model: Model, x: int, shape) -> int:
    """Less its mean, as of `sample_sign`."""
    means = apply(
        model, "MEAN", x, (*shape[:1], 1, 1, shape[3]), integers(model, 1, 2), options=b"\1"
    )
    means = apply(model, "MEAN", means, (*shape[:1], 1, 1, 1), integers(model, 3), options=b"\1")
    return apply(model, "SUB", x, shape, means, options=b"\0")


def block() -> bytes:
    """A sum, what ResNet has behind it, and its mean for the signs; of two samples, then one."""
    model = Model()
    op = Convolution(4, 5, channels=32, filters=32, batch=2)
    x = model.tensor(op.shape, FLOAT)
    y = apply(model, "ADD", append(model, op, x), op.shape, x, options=b"\0")
    y = apply(model, "RELU_N1_TO_1", y, op.shape)
    y = apply(model, "MUL", y, op.shape, model.constant(op.multiplier), options=b"\0")
    y = apply(model, "PRELU", y, op.shape, model.constant(op.bias[None, None]))
    append(
        model, Convolution(4, 5, channels=32, filters=8, batch=2), less_means(model, y, op.shape)
    )
    model.resizes = [(x, 0, 1)]
    return model.build(y)


def moved(is_of_bits: bool) -> bytes:
    """A slice, of bits or of values with zeros around them; then of larger maps."""
    model = Model()
    x = model.tensor((1, 6, 4, 32), FLOAT)
    y = x
    if is_of_bits:
        bits = model.op("LceQuantize", [x], model.tensor((1, 6, 4, 1), BITS))
        y = model.op("LceDequantize", [bits], model.tensor((1, 6, 4, 32), FLOAT))
    ranges = [integers(model, *values) for values in ((0, 1, 0, 0), (0, 0, 3, 0), (1, 2, 1, 1))]
    y = apply(model, "STRIDED_SLICE", y, (1, 3, 3, 32), *ranges, options=bytes([9, 11, 0, 0, 0]))
    if not is_of_bits:
        y = apply(model, "RELU", y, (1, 3, 3, 32))
        y = apply(model, "PAD", y, (1, 5, 3, 33), integers(model, [0, 0], [1, 1], [0, 0], [0, 1]))
        pool = bytes([SAME + 1, 2, 1, 3, 2, RELU6])
        y = apply(model, "MAX_POOL_2D", y, (1, 5, 2, 33), options=pool)
    channels = 32 if is_of_bits else 33
    model.op("LceQuantize", [y], model.tensor((1, 3, 3, words(channels)), BITS))
    model.resizes = [(x, 1, 7), (x, 2, 8)]
    return model.build()


def gate() -> bytes:
    """Of a map of one position, which is a larger one then."""
    model = Model()
    op = Convolution(1, 1, channels=32, filters=32)
    x = model.tensor(op.shape, FLOAT)
    means = apply(model, "MEAN", x, op.shape, integers(model, 1, 2), options=b"\1")
    y = apply(model, "ADD", append(model, op, x), op.shape, means, options=bytes([RELU6]))
    y = apply(model, "SUB", means, op.shape, y, options=b"\0")
    model.op("LceQuantize", [y], model.tensor((1, 1, 1, 1), BITS))
    model.resizes = [(x, 1, 3), (x, 2, 4)]
    return model.build()


def twice() -> bytes:
    """What a convolution gives is of use beside its sum."""
    model = Model()
    op = Convolution(3, 4, channels=20, filters=20, kernel=(2, 1))
    x = model.tensor(op.shape, FLOAT)
    made = append(model, op, x)
    y = apply(model, "ADD", x, op.shape, made, options=bytes([RELU6]))
    y = apply(
        model, "RELU_N1_TO_1", apply(model, "SUB", y, op.shape, made, options=b"\0"), op.shape
    )
    model.op("LceQuantize", [y], model.tensor((1, 3, 4, 1), BITS))
    return model.build()


def flat() -> bytes:
    """Means along axes of which the input then has one less."""
    model = Model()
    x = model.tensor((1, 3, 4, 5), FLOAT)
    y = apply(model, "MEAN", x, (1, 3), integers(model, 2, 3), options=b"\0")
    model.op("LceQuantize", [y], model.tensor((1, 1), BITS))
    model.resizes = [(x, 7, 0)]
    return model.build()


def constant_output() -> bytes:
    model = Model()
    bits = model.tensor((1, 2, 2, 1), BITS)
    y = model.op("LceDequantize", [bits], model.constant(np.ones((1, 2, 2, 32), FLOAT)))
    return model.build(y)


def pool(op: Pool) -> bytes:
    model = Model()
    shape = (op.batch, op.height, op.width, op.channels)
    bits = model.tensor((*shape[:3], words(op.channels)), BITS)
    model.op("LceQuantize", [model.tensor(shape, FLOAT)], bits)
    tall, wide = -(-op.height // op.stride[0]), -(-op.width // op.stride[1])
    pooled = model.tensor((op.batch, tall, wide, words(op.channels)), BITS)
    options = {
        "padding": SAME,
        "stride_width": op.stride[1],
        "stride_height": op.stride[0],
        "filter_width": op.window[1],
        "filter_height": op.window[0],
    }
    model.op("LceBMaxPool2d", [bits], pooled, options)
    y = model.tensor((op.batch, tall, wide, op.channels), op.output)
    return model.build(model.op("LceDequantize", [pooled], y))


def models() -> "dict[str, bytes]":
    size = {"height": 5, "width": 6}
    return {
        "float": convolution(Convolution(**size, channels=40, filters=20)),
        "zeros": convolution(Convolution(**size, channels=32, filters=17, pad_values=0)),
        "dilated": convolution(
            Convolution(**size, channels=32, kernel=(2, 2), dilation=(9, 8), pad_values=0)
        ),
        "large": convolution(Convolution(9, 9, 8, filters=1, kernel=(90, 70), pad_values=0)),
        "int8": convolution(Convolution(**size, channels=33, output=INT8, activation=RELU6)),
        "groups": convolution(Convolution(**size, channels=64, filters=40, groups=2, input=INT8)),
        "shifted": convolution(Convolution(**size), 251),
        "longer": convolution(Convolution(**size), 250),
        "constant": constant_output(),
        "bits": convolution(Convolution(**size, filters=40, output=BITS, stride=(2, 1))),
        "bool": convolution(Convolution(**size, input=BOOL, padding=1, batch=2)),
        "sums": residual(NONE, is_kept=False),
        "kept": residual(RELU6, is_kept=True),
        "block": block(),
        "moved": moved(is_of_bits=False),
        "cut": moved(is_of_bits=True),
        "gate": gate(),
        "twice": twice(),
        "flat": flat(),
        "pool": pool(Pool(**size, output=INT8)),
        "small": pool(Pool(**size, channels=33, window=(3, 2), output=BOOL)),
    }


def main() -> None:
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in models().items():
        (folder / name).write_bytes(content)


if __name__ == "__main__":
    main()
