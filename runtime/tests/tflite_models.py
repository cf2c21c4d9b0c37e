"""TFLite files of a few LCE ops, made without TensorFlow or LCE; and what they must compute."""

from dataclasses import dataclass, field

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema
from flatbuffers import flexbuffers

SAME, VALID = 0, 1
NONE, RELU, RELU_N1_TO_1, RELU6 = range(4)
FLOAT, INT8, BOOL, BITS = np.float32, np.int8, np.bool_, np.int32
_TENSOR_TYPES = {
    np.dtype(FLOAT): schema.TensorType.FLOAT32,
    np.dtype(INT8): schema.TensorType.INT8,
    np.dtype(BOOL): schema.TensorType.BOOL,
    np.dtype(BITS): schema.TensorType.INT32,
}
_DTYPES = {code: dtype for dtype, code in _TENSOR_TYPES.items()}


class Builder:
    """One subgraph, tensor by tensor and op by op."""

    def __init__(self) -> None:
        self.model = schema.ModelT()
        self.model.version = 3
        self.model.operatorCodes = []
        self.model.buffers = [schema.BufferT()]
        self.graph = schema.SubGraphT()
        self.graph.tensors, self.graph.operators = [], []
        self.graph.inputs, self.graph.outputs = [], []
        self.model.subgraphs = [self.graph]

    def tensor(self, shape, dtype, scale=None, zero_point=0, data=None) -> int:
        tensor = schema.TensorT()
        tensor.name = f"t{len(self.graph.tensors)}"
        tensor.shape, tensor.type = list(shape), _TENSOR_TYPES[np.dtype(dtype)]
        tensor.buffer = 0
        if scale is not None:
            tensor.quantization = schema.QuantizationParametersT()
            tensor.quantization.scale = [float(scale)]
            tensor.quantization.zeroPoint = [int(zero_point)]
        if data is not None:
            tensor.buffer = self._buffer(np.ascontiguousarray(data).tobytes())
        self.graph.tensors.append(tensor)
        return len(self.graph.tensors) - 1

    def _buffer(self, content: bytes) -> int:
        buffer = schema.BufferT()
        buffer.data = np.frombuffer(content, np.uint8)
        self.model.buffers.append(buffer)
        return len(self.model.buffers) - 1

    def metadata(self, name: str, content: bytes) -> None:
        entry = schema.MetadataT()
        entry.name, entry.buffer = name, self._buffer(content)
        self.model.metadata = [*(self.model.metadata or []), entry]

    def signature(self, key: str, inputs: "dict[str, int]", outputs: "dict[str, int]") -> None:
        entry = schema.SignatureDefT()
        entry.signatureKey, entry.subgraphIndex = key, 0
        entry.inputs, entry.outputs = _named(inputs), _named(outputs)
        self.model.signatureDefs = [*(self.model.signatureDefs or []), entry]

    def constant(self, data: np.ndarray) -> int:
        return self.tensor(data.shape, data.dtype, data=data)

    def _operator(self, builtin: int, inputs, outputs, name=None, version=1) -> schema.OperatorT:
        code = schema.OperatorCodeT()
        code.builtinCode = code.deprecatedBuiltinCode = builtin
        code.customCode, code.version = name, version
        self.model.operatorCodes.append(code)
        operator = schema.OperatorT()
        operator.opcodeIndex = len(self.model.operatorCodes) - 1
        operator.inputs, operator.outputs = list(inputs), list(outputs)
        self.graph.operators.append(operator)
        return operator

    def give_data(self, tensor: int) -> None:
        """Makes a constant of a tensor."""
        entry = self.graph.tensors[tensor]
        size = _DTYPES[entry.type].itemsize * int(np.prod(entry.shape))
        entry.buffer = self._buffer(bytes(size))

    def op(self, name: str, inputs, outputs, options=None, version=1) -> None:
        custom = schema.BuiltinOperator.CUSTOM
        operator = self._operator(custom, inputs, outputs, name, version)
        if options is not None:
            operator.customOptions = np.frombuffer(bytes(flexbuffers.Dumps(options)), np.uint8)

    def add(self, one: int, other: int, activation: int = NONE) -> int:
        """The sum of two float32 tensors of equal shape."""
        y = self.tensor(self.graph.tensors[one].shape, FLOAT)
        operator = self._operator(schema.BuiltinOperator.ADD, [one, other], [y])
        operator.builtinOptionsType = schema.BuiltinOptions.AddOptions
        operator.builtinOptions = schema.AddOptionsT()
        operator.builtinOptions.fusedActivationFunction = activation
        return y

    def builtin(self, name: str, inputs, shape, options: str = "", **values) -> int:
        """The float32 output of an op of the runtime's own, with options of that kind."""
        y = self.tensor(shape, FLOAT)
        operator = self._operator(getattr(schema.BuiltinOperator, name), inputs, [y])
        if options:
            operator.builtinOptionsType = getattr(schema.BuiltinOptions, options)
            operator.builtinOptions = getattr(schema, f"{options}T")()
            vars(operator.builtinOptions).update(values)
        return y

    def reshape(self, x: int, y: int) -> None:
        shape = np.array(self.graph.tensors[y].shape, np.int32)
        self._operator(schema.BuiltinOperator.RESHAPE, [x, self.constant(shape)], [y])

    def transpose(self, x: int, axes: "list[int]") -> int:
        shape = self.graph.tensors[x].shape
        y = self.tensor([shape[axis] for axis in axes], FLOAT)
        order = self.constant(np.array(axes, np.int32))
        self._operator(schema.BuiltinOperator.TRANSPOSE, [x, order], [y])
        return y

    def build(self, inputs, outputs) -> bytes:
        self.graph.inputs, self.graph.outputs = list(inputs), list(outputs)
        builder = flatbuffers.Builder(1024)
        builder.Finish(self.model.Pack(builder), b"TFL3")
        return bytes(builder.Output())

    def build_with_data_behind(self, inputs, outputs, shift: int = 0) -> bytes:
        """All constants behind the tables, as in files of more than 2 GB, each at a multiple of 16
        and then `shift` bytes on."""
        contents = []
        for buffer in self.model.buffers[1:]:
            contents.append(bytes(buffer.data))
            buffer.data, buffer.offset, buffer.size = None, 2, len(contents[-1])
        file = self.build(inputs, outputs)
        size = len(file)
        data = b""
        for buffer, content in zip(self.model.buffers[1:], contents, strict=True):
            data += bytes(-(size + len(data)) % 16 + shift)
            buffer.offset = size + len(data)
            data += content
        return self.build(inputs, outputs) + data


def _named(tensors: "dict[str, int]") -> "list[schema.TensorMapT]":
    entries = []
    for name, index in tensors.items():
        entry = schema.TensorMapT()
        entry.name, entry.tensorIndex = name, index
        entries.append(entry)
    return entries


def words(channels: int) -> int:
    return -(-channels // 32)


def pack(signs: np.ndarray) -> np.ndarray:
    """Signs of any shape to bits along the last axis, 1 for -1, as int32."""
    channels = signs.shape[-1]
    bits = np.zeros((*signs.shape[:-1], words(channels) * 32), np.uint8)
    bits[..., :channels] = signs < 0
    return np.packbits(bits, axis=-1, bitorder="little").view(np.int32)


@dataclass
class Convolution:
    """One LceBconv2d, behind an LceQuantize and, if it gives bits, before an LceDequantize."""

    height: int = 8
    width: int = 8
    channels: int = 64
    filters: int = 32
    kernel: tuple[int, int] = (3, 3)
    stride: tuple[int, int] = (1, 1)
    dilation: tuple[int, int] = (1, 1)
    padding: int = SAME
    pad_values: int = 1
    activation: int = NONE
    groups: int = 1
    batch: int = 1
    output: type = FLOAT
    input: type = FLOAT
    seed: int = 0
    extra: dict = field(default_factory=dict)

    def __post_init__(self) -> None:
        rng = np.random.default_rng(self.seed)
        depth = self.channels // self.groups
        self.weights = rng.choice([-1, 1], (self.filters, *self.kernel, depth)).astype(np.int8)
        self.multiplier = rng.normal(0, 1, self.filters).astype(np.float32)
        self.bias = rng.normal(0, 3, self.filters).astype(np.float32)
        taps = depth * self.kernel[0] * self.kernel[1]
        self.thresholds = rng.integers(0, taps, self.filters).astype(np.int32)
        self.scale, self.zero_point = 0.37, int(rng.integers(-20, 20))
        self.in_scale, self.in_zero_point = 0.11, int(rng.integers(-20, 20))

    @property
    def options(self) -> dict:
        return {
            "channels_in": self.channels,
            "dilation_height_factor": self.dilation[0],
            "dilation_width_factor": self.dilation[1],
            "fused_activation_function": self.activation,
            "pad_values": self.pad_values,
            "padding": self.padding,
            "stride_height": self.stride[0],
            "stride_width": self.stride[1],
        } | self.extra

    @property
    def output_size(self) -> tuple[int, int]:
        sizes = zip((self.height, self.width), self.kernel, self.stride, self.dilation, strict=True)
        return tuple(
            -(-(n if self.padding == SAME else n - (k - 1) * d) // s) for n, k, s, d in sizes
        )

    @property
    def shape(self) -> tuple[int, int, int, int]:
        return (self.batch, self.height, self.width, self.channels)

    def model(self) -> bytes:
        b = Builder()
        quantized = {"scale": self.in_scale, "zero_point": self.in_zero_point}
        x = b.tensor(self.shape, self.input, **(quantized if self.input is INT8 else {}))
        return b.build([x], [self.append(b, x)])

    def append(self, b: Builder, x: int) -> int:
        """Adds the ops behind tensor `x`; returns the tensor of the output."""
        bits = b.tensor((*self.shape[:3], words(self.channels)), BITS)
        b.op("LceQuantize", [x], [bits])
        result = (self.batch, *self.output_size)
        filters = b.constant(pack(self.weights))
        if self.output is BITS:
            inputs = [bits, filters, -1, -1, b.constant(self.thresholds)]
            packed = b.tensor((*result, words(self.filters)), BITS)
            b.op("LceBconv2d", inputs, [packed], self.options)
            y = b.tensor((*result, self.filters), FLOAT)
            b.op("LceDequantize", [packed], [y])
        else:
            inputs = [bits, filters, b.constant(self.multiplier), b.constant(self.bias), -1]
            quantized = {"scale": self.scale, "zero_point": self.zero_point}
            y = b.tensor(
                (*result, self.filters), self.output, **(quantized if self.output is INT8 else {})
            )
            b.op("LceBconv2d", inputs, [y], self.options)
        return y

    def sample(self, seed: int = 1) -> np.ndarray:
        rng = np.random.default_rng(seed)
        if self.input is INT8:
            return rng.integers(-128, 128, self.shape).astype(np.int8)
        if self.input is BOOL:
            return rng.integers(0, 2, self.shape).astype(np.bool_)
        return rng.normal(0, 1, self.shape).astype(np.float32)

    def signs(self, x: np.ndarray) -> np.ndarray:
        if self.input is INT8:
            return np.where(x.astype(np.int32) < self.in_zero_point, -1, 1)
        if self.input is BOOL:
            return np.where(x, 1, -1)
        return np.where(x < 0, -1, 1)

    def expected(self, x: np.ndarray) -> np.ndarray:
        """By definition, tap by tap, in int64; zero padding as Keras has it."""
        signs, fill = self.signs(x), 1 if self.pad_values == 1 else 0
        tall, wide = self.output_size
        before = [
            max((out - 1) * s + (k - 1) * d + 1 - n, 0) // 2 if self.padding == SAME else 0
            for out, s, k, d, n in zip(
                (tall, wide),
                self.stride,
                self.kernel,
                self.dilation,
                (self.height, self.width),
                strict=True,
            )
        ]
        depth, per_group = self.channels // self.groups, self.filters // self.groups
        total = np.zeros((len(x), tall, wide, self.filters), np.int64)
        outside = np.zeros((tall, wide, self.filters), np.int64)
        for ky in range(self.kernel[0]):
            for kx in range(self.kernel[1]):
                rows = np.arange(tall) * self.stride[0] - before[0] + ky * self.dilation[0]
                columns = np.arange(wide) * self.stride[1] - before[1] + kx * self.dilation[1]
                inside = np.logical_and.outer(
                    (rows >= 0) & (rows < self.height), (columns >= 0) & (columns < self.width)
                )
                clipped = np.ix_(
                    np.clip(rows, 0, self.height - 1), np.clip(columns, 0, self.width - 1)
                )
                patch = np.where(inside[..., None], signs[:, clipped[0], clipped[1]], 1)
                for group in range(self.groups):
                    ours = slice(group * per_group, (group + 1) * per_group)
                    taps = self.weights[ours, ky, kx].astype(np.int64)
                    channels = patch[..., group * depth : (group + 1) * depth]
                    total[..., ours] += channels @ taps.T
                    outside[..., ours] += ~inside[..., None] * taps.sum(axis=1)
        signs_in_field = depth * self.kernel[0] * self.kernel[1]
        if self.output is BITS:
            differing = (signs_in_field - total) // 2
            return np.where(differing > self.thresholds, -1, 1).astype(np.float32)
        low, high = {
            NONE: (-(2**40), 2**40),
            RELU: (0, 2**40),
            RELU_N1_TO_1: (-1, 1),
            RELU6: (0, 6),
        }[self.activation]
        doubled = np.clip(signs_in_field - total, signs_in_field - high, signs_in_field - low)
        scale, zero_point = (
            (np.float32(self.scale), self.zero_point) if self.output is INT8 else (1, 0)
        )
        factor = (-self.multiplier.astype(np.float64) / scale).astype(np.float32)
        offset = (self.bias + self.multiplier.astype(np.float64) * signs_in_field) / scale
        y = doubled.astype(np.float32) * factor + (offset + zero_point).astype(np.float32)
        if fill == 0 and self.padding == SAME:
            y = y + factor * outside.astype(np.float32)
        if self.output is INT8:
            rounded = np.trunc(y) + np.trunc((y - np.trunc(y)) * 2)
            return np.clip(rounded, -128, 127).astype(np.int8)
        return y


@dataclass
class Pool:
    """One LceBMaxPool2d between LceQuantize and LceDequantize."""

    height: int = 8
    width: int = 8
    channels: int = 64
    window: tuple[int, int] = (2, 2)
    stride: tuple[int, int] = (2, 2)
    padding: int = VALID
    batch: int = 1
    output: type = FLOAT
    scale: float = 0.1
    zero_point: int = 3

    def model(self) -> bytes:
        b = Builder()
        shape = (self.batch, self.height, self.width, self.channels)
        result = (
            self.batch,
            *(
                -(-(n if self.padding == SAME else n - k + 1) // s)
                for n, k, s in zip(shape[1:3], self.window, self.stride, strict=True)
            ),
        )
        x = b.tensor(shape, FLOAT)
        bits = b.tensor((*shape[:3], words(self.channels)), BITS)
        pooled = b.tensor((*result, words(self.channels)), BITS)
        quantized = {"scale": self.scale, "zero_point": self.zero_point}
        y = b.tensor(
            (*result, self.channels), self.output, **(quantized if self.output is INT8 else {})
        )
        b.op("LceQuantize", [x], [bits])
        options = {
            "padding": self.padding,
            "stride_width": self.stride[1],
            "stride_height": self.stride[0],
            "filter_width": self.window[1],
            "filter_height": self.window[0],
        }
        b.op("LceBMaxPool2d", [bits], [pooled], options)
        b.op("LceDequantize", [pooled], [y])
        return b.build([x], [y])

    def sample(self, seed: int = 1) -> np.ndarray:
        shape = (self.batch, self.height, self.width, self.channels)
        return np.random.default_rng(seed).normal(0, 1, shape).astype(np.float32)


def random_convolution(rng: np.random.Generator) -> Convolution:
    """Any options that LCE's converter can emit, small."""

    def pick(*choices):
        return choices[rng.integers(len(choices))]

    output = pick(FLOAT, FLOAT, INT8, BITS)
    padding, pad_values = pick(SAME, VALID), pick(0, 1)
    zero_padded = padding == SAME and pad_values == 0
    if zero_padded:
        output = FLOAT
    kernel = (int(rng.integers(1, 6)), int(rng.integers(1, 6)))
    dilation = (int(pick(1, 1, 1, 2, 3)), int(pick(1, 1, 1, 2, 3)))
    least = [(k - 1) * d + 1 for k, d in zip(kernel, dilation, strict=True)]
    groups = int(pick(1, 1, 1, 2, 3))
    channels = int(rng.integers(1, 130)) if groups == 1 else groups * 32 * int(rng.integers(1, 3))
    return Convolution(
        height=int(least[0] + rng.integers(0, 9)),
        width=int(least[1] + rng.integers(0, 20)),
        channels=channels,
        filters=groups * int(pick(1, 7, 16, 20, 32, 33, 64)),
        kernel=kernel,
        stride=(int(rng.integers(1, 4)), int(rng.integers(1, 4))),
        dilation=dilation,
        padding=padding,
        pad_values=pad_values,
        activation=NONE if zero_padded or output is BITS else int(rng.integers(4)),
        groups=groups,
        batch=int(pick(1, 1, 2, 3)),
        output=output,
        input=pick(FLOAT, FLOAT, INT8, BOOL),
        seed=int(rng.integers(2**31)),
    )


def random_pool(rng: np.random.Generator) -> Pool:
    """Any options of LceBMaxPool2d and LceDequantize, small."""
    output = [FLOAT, INT8, BOOL][rng.integers(3)]
    return Pool(
        height=int(rng.integers(4, 12)),
        width=int(rng.integers(4, 20)),
        channels=int(rng.integers(1, 130)),
        window=(int(rng.integers(1, 5)), int(rng.integers(1, 5))),
        stride=(int(rng.integers(1, 4)), int(rng.integers(1, 4))),
        padding=int(rng.integers(2)),
        batch=int(rng.integers(1, 4)),
        output=output,
        scale=float(rng.choice([0.004, 0.1, 0.5, 1.0, 3.0])),
        zero_point=int(rng.integers(-128, 128)),
    )
