"""Reads and rewrites TFLite files: the one place that knows their schema."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import flatbuffers
import numpy as np
from flatbuffers import flexbuffers

from siman_larq._optional import require

__all__ = [
    "BinaryConvolution",
    "TFLiteFile",
    "codes_of",
    "constant_bytes",
    "finished",
    "has_small_maps",
    "kernel_key",
    "operators",
    "with_input_shapes",
    "written",
]


_INT8 = ("CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED")


@dataclass(frozen=True)
class BinaryConvolution:
    """A 1-bit convolution of a file.

    # Attributes
        key: What its kernel and the like kernel of a model have in common; see `kernel_key`.
        maps: Shape of its inputs, NHWC.
        kernel_shape: OHWI.
        options: Its options by name.
        node: Its number among the operators.
    """

    key: bytes
    maps: tuple[int, ...]
    kernel_shape: tuple[int, ...]
    options: dict[str, Any]
    node: int

    @property
    def is_grouped(self) -> bool:
        """Whether its filters see a part of the channels each."""
        return self.options["channels_in"] > self.kernel_shape[3]

    @property
    def has_small_maps(self) -> bool:
        """Whether it pads with zeros on a map smaller than its kernel."""
        rates = [self.options[f"dilation_{side}_factor"] for side in ("height", "width")]
        reach = [(k - 1) * r + 1 for k, r in zip(self.kernel_shape[1:3], rates, strict=True)]
        # TFLite's enumeration: SAME is 0, VALID is 1.
        if self.options["padding"] != 0 or self.options["pad_values"] != 0:
            return False
        return any(n < k for n, k in zip(self.maps[1:3], reach, strict=True))


class TFLiteFile:
    """A file's content.

    # Arguments
        tflite: The bytes.

    # Attributes
        content: As an object of TFLite's schema.
        graph: Its main subgraph.
        operators: Names of the operators, in order.

    # Raises
        ValueError: when it is no whole TFLite file.
    """

    def __init__(self, tflite: bytes) -> None:
        self.schema = _schema()
        try:
            if tflite[4:8] != b"TFL3":
                raise ValueError("the identifier TFL3 is missing")
            root = self.schema.Model.GetRootAs(tflite, 0)
            self.content = self.schema.ModelT.InitFromObj(root)
            self.graph = self.content.subgraphs[0]
            names = {code: name for name, code in vars(self.schema.BuiltinOperator).items()}
            codes = [
                code.customCode.decode()
                if code.customCode
                else names[max(code.builtinCode, code.deprecatedBuiltinCode)]
                for code in self.content.operatorCodes
            ]
            self.operators = [codes[operator.opcodeIndex] for operator in self.graph.operators]
            self.binary_convolutions = list(self._binary_convolutions())
        except Exception as error:
            raise ValueError(
                f"This is no whole TFLite file ({type(error).__name__}: {error}). It may be "
                "truncated; convert the model again."
            ) from error

    @property
    def needs_reference_kernel(self) -> bool:
        """Whether LCE's reference kernel alone may compute it rightly."""
        return any(c.has_small_maps or c.is_grouped for c in self.binary_convolutions)

    @property
    def int8_operators(self) -> list[int]:
        """The numbers of the convolutions and dense layers that compute in 8-bit integers."""
        tensors, int8 = self.graph.tensors, self.schema.TensorType.INT8
        return [
            number
            for number, operator in enumerate(self.graph.operators)
            if self.operators[number] in _INT8 and tensors[operator.inputs[0]].type == int8
        ]

    def constant(self, index: int) -> bytes:
        """What a tensor holds; nothing if it is no constant."""
        data = self.content.buffers[self.graph.tensors[index].buffer].data
        return b"" if data is None else np.asarray(data, np.uint8).tobytes()

    def _binary_convolutions(self) -> Iterator[BinaryConvolution]:
        for node, (name, operator) in enumerate(
            zip(self.operators, self.graph.operators, strict=True)
        ):
            if name != "LceBconv2d":
                continue
            maps, words = (self.graph.tensors[index] for index in operator.inputs[:2])
            options = flexbuffers.Loads(bytes(operator.customOptions))
            packed = np.frombuffer(self.constant(operator.inputs[1]), "<i4").reshape(words.shape)
            bits = np.unpackbits(packed.view(np.uint8), axis=-1, bitorder="little")
            bits = bits[..., : min(options["channels_in"], bits.shape[-1])]
            shape = tuple(int(n) for n in bits.shape)
            yield BinaryConvolution(
                kernel_key(bits.astype(bool)), tuple(maps.shape), shape, options, node
            )

    def float_kernels(self) -> list[bytes]:
        """Keys of the kernels of convolutions that are not 1-bit."""
        keys = []
        for name, operator in zip(self.operators, self.graph.operators, strict=True):
            if name != "CONV_2D":
                continue
            tensor = self.graph.tensors[operator.inputs[1]]
            content = self.constant(operator.inputs[1])
            if tensor.type == self.schema.TensorType.FLOAT32 and content:
                kernel = np.frombuffer(content, np.float32).reshape(tensor.shape)
                keys.append(kernel_key(kernel <= 0))
        return keys


def _schema() -> Any:
    return require(
        "larq_compute_engine.mlir.python.tflite_schema",
        extra="convert",
        purpose="Reading a TFLite file",
    )


def kernel_key(is_negative: np.ndarray) -> bytes:
    """Bits of the shape (filters, height, width, channels), with the first bit of each 0.

    A file keeps no reliable layer names, but it keeps the bits, up to the sign of a filter,
    which LCE may move into the filter's scale.
    """
    bits = is_negative.reshape(is_negative.shape[0], -1)
    shape = np.array(is_negative.shape, np.int32).tobytes()
    return shape + np.packbits(bits ^ bits[:, :1]).tobytes()


def codes_of(key: bytes) -> np.ndarray:
    """The bits that a key is of, (filters, height, width, channels); none for an empty one."""
    shape = np.frombuffer(key[:16], np.int32) if key else np.zeros(4, np.int32)
    bits = np.unpackbits(np.frombuffer(key[16:], np.uint8), count=int(shape.prod()))
    return bits.reshape(shape).astype(bool)


def operators(tflite: bytes) -> list[str]:
    """The names of a file's operators, in order."""
    return TFLiteFile(tflite).operators


def constant_bytes(tflite: bytes) -> int:
    """Bytes of all constants of a file."""
    content = TFLiteFile(tflite).content
    used = {tensor.buffer for graph in content.subgraphs for tensor in graph.tensors}
    data = [content.buffers[index].data for index in used]
    return sum(0 if part is None else len(part) for part in data)


def has_small_maps(tflite: bytes) -> bool:
    """Whether a binary convolution pads with zeros on a map smaller than its kernel."""
    return any(c.has_small_maps for c in TFLiteFile(tflite).binary_convolutions)


def with_input_shapes(tflite: bytes, shapes: list[tuple[int, ...]]) -> bytes:
    """The same file for inputs of other shapes, where those that it has are only stand-ins."""
    file = TFLiteFile(tflite)
    tensors = [file.graph.tensors[index] for index in file.graph.inputs]
    if all(tuple(t.shape) == tuple(s) for t, s in zip(tensors, shapes, strict=True)):
        return tflite
    for tensor, shape in zip(tensors, shapes, strict=True):
        tensor.shape = np.array(shape, np.int32)
    return written(file.content, len(tflite))


def finished(tflite: bytes, inputs: list[str], outputs: list[str]) -> bytes:
    """What LCE wrote, with names, and without what no interpreter reads.

    Names of inner tensors, converter metadata and repeated constants are a quarter of a small
    network's file.

    # Arguments
        tflite: LCE's file.
        inputs: Names of its inputs, in order, for its tensors and its signature.
        outputs: Names of its outputs.
    """
    file = TFLiteFile(tflite)
    content, graph = file.content, file.graph
    content.metadata, content.description = None, None
    _share_buffers(content)
    for tensor in graph.tensors:
        tensor.name = None
        if tensor.quantization is not None and tensor.quantization.scale is None:
            tensor.quantization = None
        # Tells a scalar from an unknown shape; nothing here is either.
        tensor.hasRank = False
    for operator in graph.operators:
        if operator.customOptions is not None and len(operator.customOptions) == 0:
            operator.customOptions = None
        operator.intermediates = operator.mutatingVariableInputs = None
    _name(file, inputs, outputs)
    return written(content, len(tflite))


def written(content: Any, size: int = 1024) -> bytes:
    """The bytes of a file's content, where about so many are to be expected."""
    builder = _SharingBuilder(size)
    builder.Finish(content.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def _name(file: TFLiteFile, inputs: list[str], outputs: list[str]) -> None:
    signature = file.schema.SignatureDefT()
    signature.signatureKey = b"serving_default"
    signature.subgraphIndex = 0
    parts = []
    for tensors, names in ((file.graph.inputs, inputs), (file.graph.outputs, outputs)):
        if len(tensors) != len(names):
            raise ValueError(f"the file has {len(tensors)} of {', '.join(names)}")
        entries = []
        for index, name in zip(tensors, names, strict=True):
            entry = file.schema.TensorMapT()
            entry.name, entry.tensorIndex = name.encode(), index
            file.graph.tensors[index].name = name.encode()
            entries.append(entry)
        parts.append(entries)
    signature.inputs, signature.outputs = parts
    file.content.signatureDefs = [signature]


def _share_buffers(content: Any) -> None:
    """Keeps one buffer of each content, and the empty first one that the format asks for."""
    kept, places, moved = [content.buffers[0]], {}, {0: 0}
    for old, buffer in enumerate(content.buffers[1:], start=1):
        data = b"" if buffer.data is None else np.asarray(buffer.data, np.uint8).tobytes()
        if data not in places:
            places[data] = len(kept) if data else 0
            if data:
                kept.append(buffer)
        moved[old] = places[data]
    for graph in content.subgraphs:
        for tensor in graph.tensors:
            tensor.buffer = moved[tensor.buffer]
    content.buffers = kept


class _SharingBuilder(flatbuffers.Builder):
    """Writes equal vectors, such as the shapes of tensors, once; and constants aligned."""

    def __init__(self, size: int) -> None:
        super().__init__(size)
        self._written: dict[tuple[str, bytes], int] = {}

    def CreateNumpyVector(self, x: np.ndarray) -> int:  # noqa: N802 (the library's name)
        key = (x.dtype.str, x.tobytes())
        if key not in self._written:
            # The format wants the data of buffers, which are bytes, at multiples of 16.
            self.StartVector(x.itemsize, x.size, 16 if x.dtype == np.uint8 else x.itemsize)
            self.head -= x.nbytes
            self.Bytes[self.head : self.head + x.nbytes] = key[1]
            self._written[key] = self.EndVector()
        return self._written[key]
