"""Reads and shrinks TFLite files: the one place that knows their schema."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from flatbuffers import Builder, flexbuffers
from larq_compute_engine.mlir.python import tflite_schema as schema

__all__ = ["BinaryConvolution", "TFLiteModel"]

_IDENTIFIER = b"TFL3"
_NAMES = {code: name for name, code in vars(schema.BuiltinOperator).items() if name.isupper()}
_SAME = 1  # kTfLitePaddingSame
_BITS = 32


@dataclass(frozen=True, eq=False)
class BinaryConvolution:
    """An `LceBconv2d` of the file.

    # Attributes
        output: Index of its output tensor.
        bits: True for negative weights, shape (filters, height, width, channels rounded up).
        misread_padding: Whether LCE's fast kernels get its zero padding wrong.
        grouped: Whether it has several groups.
    """

    output: int
    bits: np.ndarray
    misread_padding: bool
    grouped: bool


class TFLiteModel:
    """A parsed TFLite file.

    # Arguments
        content: The bytes of the file.

    # Raises
        ValueError: for anything but a whole TFLite file.
    """

    def __init__(self, content: bytes) -> None:
        if len(content) < 8 or content[4:8] != _IDENTIFIER:
            raise ValueError(
                f"not a TFLite file: the identifier {_IDENTIFIER.decode()} is not at byte 4 of "
                f"its {len(content)} bytes."
            )
        try:
            self.model = schema.ModelT.InitFromObj(schema.Model.GetRootAsModel(content, 0))
            self.graph = self.model.subgraphs[0]
            for tensor in self.graph.tensors:
                self._check_size(tensor)
        except Exception as error:
            raise ValueError(
                f"damaged TFLite file: its {len(content)} bytes cannot be read to the end (was it "
                f"cut off while copying?): {error!r}"
            ) from error

    def _check_size(self, tensor: Any) -> None:
        data = self.model.buffers[tensor.buffer].data
        if data is not None and len(data) and tensor.type in (0, 2):
            expected = 4 * int(np.prod(tensor.shape))
            if len(data) != expected:
                raise ValueError(f"tensor {tensor.name!r} has {len(data)} of {expected} bytes")

    @cached_property
    def op_names(self) -> list[str]:
        """The ops in order of execution, such as `["MEAN", "SUB", "LceQuantize", "LceBconv2d"]`."""
        return [self._op_name(op) for op in self.graph.operators]

    @property
    def input_shapes(self) -> list[tuple[int, ...]]:
        """The shapes of the file's inputs, with a batch size of 1."""
        return [tuple(map(int, self.graph.tensors[i].shape)) for i in self.graph.inputs]

    def _op_name(self, op: Any) -> str:
        code = self.model.operatorCodes[op.opcodeIndex]
        if code.customCode:
            return code.customCode.decode()
        number = max(code.builtinCode, code.deprecatedBuiltinCode)
        return _NAMES.get(number, f"BUILTIN_{number}")

    def _constant(self, index: int, dtype: Any) -> np.ndarray | None:
        tensor = self.graph.tensors[index]
        data = self.model.buffers[tensor.buffer].data
        if data is None or not len(data):
            return None
        return np.frombuffer(bytes(data), dtype).reshape(tensor.shape)

    @cached_property
    def binary_convolutions(self) -> list[BinaryConvolution]:
        """All `LceBconv2d` of the file."""
        pairs = zip(self.graph.operators, self.op_names, strict=True)
        return [self._binary_convolution(op) for op, name in pairs if name == "LceBconv2d"]

    def _binary_convolution(self, op: Any) -> BinaryConvolution:
        options = flexbuffers.Loads(bytes(op.customOptions))
        words = self._constant(op.inputs[1], "<u4")
        assert words is not None
        bits = np.unpackbits(words.view(np.uint8), axis=-1, bitorder="little").astype(bool)
        _, *sizes, in_words = self.graph.tensors[op.inputs[0]].shape
        reaches = [
            (size - 1) * options[f"dilation_{side}_factor"] + 1
            for size, side in zip(words.shape[1:3], ("height", "width"), strict=True)
        ]
        is_small = any(size < reach for size, reach in zip(sizes, reaches, strict=True))
        pads_zeros = options["padding"] == _SAME and options["pad_values"] == 0
        return BinaryConvolution(
            op.outputs[0], bits, is_small and pads_zeros, in_words != words.shape[-1]
        )

    @cached_property
    def float_convolutions(self) -> list[np.ndarray]:
        """The kernels of float convolutions, shape (filters, height, width, channels)."""
        pairs = zip(self.graph.operators, self.op_names, strict=True)
        weights = (
            self._constant(op.inputs[1], "<f4")
            for op, name in pairs
            if name == "CONV_2D" and self.graph.tensors[op.inputs[1]].type == 0
        )
        return [kernel for kernel in weights if kernel is not None]

    def shrunk(self, names: dict[int, str]) -> bytes:
        """The file without what no interpreter reads.

        Tensors without data share the empty buffer and equal constants theirs; names become those
        of layers, and shapes are not kept twice.

        # Arguments
            names: Names of tensors by their index.

        # Returns
            The content of the smaller file.
        """
        kept = {*self.graph.inputs, *self.graph.outputs}
        buffers = {b"": 0}
        for index, tensor in enumerate(self.graph.tensors):
            data = self.model.buffers[tensor.buffer].data
            content = b"" if data is None else bytes(data)
            tensor.buffer = buffers.setdefault(content, len(buffers))
            if index not in kept:
                tensor.name = None if content else _short(names.get(index), tensor.name)
                tensor.shapeSignature = None
            if tensor.quantization is not None and tensor.quantization.scale is None:
                tensor.quantization = None
        for entry in self.model.metadata or []:
            data = self.model.buffers[entry.buffer].data
            content = b"" if data is None else bytes(data)
            entry.buffer = buffers.setdefault(content, len(buffers))
        self.model.buffers = [_AlignedBuffer(content) for content in buffers]
        builder = Builder(1024)
        builder.Finish(self.model.Pack(builder), file_identifier=_IDENTIFIER)
        return bytes(builder.Output())


class _AlignedBuffer:
    """Packs as the schema's buffers do, and on 16 bytes, which those leave out."""

    def __init__(self, content: bytes) -> None:
        self._content = content

    def Pack(self, builder: Any) -> int:  # noqa: N802
        data = None
        if self._content:
            builder.Prep(16, len(self._content))
            data = builder.CreateByteVector(self._content)
        schema.BufferStart(builder)
        if data is not None:
            schema.BufferAddData(builder, data)
        return schema.BufferEnd(builder)


def _short(layer: str | None, name: bytes | None) -> str:
    """`b"resnet20/layer1.0.bn1/FusedBatchNormV3;..."` becomes `"layer1.0.bn1"`."""
    if layer:
        return layer
    parts = (name or b"").decode(errors="replace").split(";")[0].split("/")
    return "/".join(parts[1:-1] or parts)
