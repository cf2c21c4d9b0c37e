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
_OPS = ["LceQuantize", "LceDequantize", "LceBconv2d", "LceBMaxPool2d", "ADD"]


class Model:
    """Bytes in the order in which model.h reads them."""

    def __init__(self, odd: int = 0) -> None:
        self.odd = odd  # of constants: 251 and more shift them, 241 to 250 change their size
        self.tensors: list[bytes] = []
        self.nodes: list[bytes] = []

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
        return b"".join(parts) + bytes([index + 1 for index in kept] + [0])


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
