"""Reads TFLite files: the one place that knows their schema."""

from collections import Counter
from collections.abc import Iterator
from typing import Any

import flatbuffers
import numpy as np
import tensorflow as tf
from flatbuffers import flexbuffers
from larq_compute_engine.mlir.python import tflite_schema

from siman_larq.conversion.binary import binary_kernel, binary_layers, lacks_binary_input

__all__ = [
    "compacted",
    "constant_bytes",
    "has_small_maps",
    "operators",
    "packed_layers",
    "unpacked",
    "written",
]


def operators(tflite: bytes) -> list[str]:
    """The names of a file's operators, in order."""
    return [name for name, _, _ in _operators(tflite)]


def packed_layers(
    model: tf.keras.Model, tflite: bytes
) -> tuple[list[tf.keras.layers.Layer], list[tf.keras.layers.Layer]]:
    """The binary layers of a model that are 1-bit ops in a file, and those that are not.

    A file keeps no reliable layer names, but it keeps the bits: a layer is packed if a binary
    convolution in the file has its kernel, up to the sign of a filter, which LCE may move into
    the filter's scale.
    """
    available: Counter[bytes] = Counter()
    for _, operator, graph in _binary_convolutions(tflite):
        available[_key(_unpacked_filters(operator, graph))] += 1
    packed: list[tf.keras.layers.Layer] = []
    left: list[tf.keras.layers.Layer] = []
    # Of layers with equal kernels those that can be packed come first.
    for layer in sorted(binary_layers(model), key=lacks_binary_input):
        kernel = binary_kernel(layer)
        key = b"" if kernel is None else _key(np.transpose(kernel, (3, 0, 1, 2)) <= 0)
        is_there = available[key] > 0
        available[key] -= is_there
        (packed if is_there else left).append(layer)
    order = binary_layers(model).index
    return sorted(packed, key=order), sorted(left, key=order)


def constant_bytes(tflite: bytes) -> int:
    """Bytes of all constants of a file."""
    model = tflite_schema.Model.GetRootAs(tflite, 0)
    graphs = [model.Subgraphs(index) for index in range(model.SubgraphsLength())]
    used = {graph.Tensors(i).Buffer() for graph in graphs for i in range(graph.TensorsLength())}
    return sum(model.Buffers(index).DataLength() for index in used)


def has_small_maps(tflite: bytes) -> bool:
    """Whether a binary convolution pads with zeros on a map smaller than its kernel."""
    for options, operator, graph in _binary_convolutions(tflite):
        maps, filters = (graph.tensors[index].shape for index in operator.inputs[:2])
        rates = (options["dilation_height_factor"], options["dilation_width_factor"])
        reach = [(k - 1) * rate + 1 for k, rate in zip(filters[1:3], rates, strict=True)]
        # TFLite's enumeration: SAME is 0, VALID is 1.
        pads_zeros = options["padding"] == 0 and options["pad_values"] == 0
        if pads_zeros and any(n < k for n, k in zip(maps[1:3], reach, strict=True)):
            return True
    return False


def _key(is_negative: np.ndarray) -> bytes:
    """Bits of the shape (filters, height, width, channels), with the first bit of each 0."""
    bits = is_negative.reshape(is_negative.shape[0], -1)
    shape = np.array(is_negative.shape, np.int32).tobytes()
    return shape + np.packbits(bits ^ bits[:, :1]).tobytes()


def _unpacked_filters(operator: Any, graph: Any) -> np.ndarray:
    tensor = graph.tensors[operator.inputs[1]]
    words = np.frombuffer(graph.buffers[tensor.buffer], "<i4").reshape(tensor.shape)
    bits = np.unpackbits(words.view(np.uint8), axis=-1, bitorder="little")
    channels = min(_options(operator)["channels_in"], bits.shape[-1])
    return bits[..., :channels].astype(bool)


def _content(buffer: Any) -> bytes:
    return b"" if buffer.data is None else bytes(bytearray(buffer.data))


def _options(operator: Any) -> dict[str, Any]:
    return flexbuffers.Loads(bytes(operator.customOptions))


def _binary_convolutions(tflite: bytes) -> Iterator[tuple[dict[str, Any], Any, Any]]:
    for name, operator, graph in _operators(tflite):
        if name == "LceBconv2d":
            yield _options(operator), operator, graph


def _operators(tflite: bytes) -> Iterator[tuple[str, Any, Any]]:
    model = unpacked(tflite)
    try:
        names = {code: name for name, code in vars(tflite_schema.BuiltinOperator).items()}
        for graph in model.subgraphs:
            graph.buffers = [_content(buffer) for buffer in model.buffers]
            for operator in graph.operators:
                code = model.operatorCodes[operator.opcodeIndex]
                builtin = max(code.builtinCode, code.deprecatedBuiltinCode)
                custom = code.customCode
                yield (custom.decode() if custom else names[builtin]), operator, graph
    except Exception as error:
        raise _damaged(error) from error


def unpacked(tflite: bytes) -> Any:
    """A file as the schema's `ModelT`; raises `ValueError` for what is no whole TFLite file."""
    try:
        if tflite[4:8] != b"TFL3":
            raise ValueError("the identifier TFL3 is missing")
        return tflite_schema.ModelT.InitFromObj(tflite_schema.Model.GetRootAs(tflite, 0))
    except Exception as error:
        raise _damaged(error) from error


def _damaged(error: Exception) -> ValueError:
    return ValueError(
        f"This is no whole TFLite file ({type(error).__name__}: {error}). It may be truncated; "
        "convert the model again."
    )


def written(model: Any) -> bytes:
    """The file of a `ModelT`."""
    builder = _SharingBuilder(1024)
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def compacted(tflite: bytes) -> bytes:
    """The same model without what no interpreter reads.

    Names of inner tensors, converter metadata and repeated constants are a quarter of a small
    network's file. Names of inputs and outputs stay.
    """
    model = unpacked(tflite)
    model.metadata, model.description = None, None
    _share_buffers(model)
    for graph in model.subgraphs:
        outer = {*graph.inputs, *graph.outputs}
        for index, tensor in enumerate(graph.tensors):
            tensor.name = tensor.name if index in outer else None
            if tensor.quantization is not None and tensor.quantization.scale is None:
                tensor.quantization = None
            # Tells a scalar from an unknown shape; nothing here is either.
            tensor.hasRank = False
        for operator in graph.operators:
            if operator.customOptions is not None and len(operator.customOptions) == 0:
                operator.customOptions = None
            operator.intermediates = operator.mutatingVariableInputs = None
    return written(model)


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


def _share_buffers(model: Any) -> None:
    """Keeps one buffer of each content, and the empty first one that the format asks for."""
    kept, places, moved = [model.buffers[0]], {}, {0: 0}
    for old, buffer in enumerate(model.buffers[1:], start=1):
        content = _content(buffer)
        if content not in places:
            places[content] = len(kept) if content else 0
            if content:
                kept.append(buffer)
        moved[old] = places[content]
    for graph in model.subgraphs:
        for tensor in graph.tensors:
            tensor.buffer = moved[tensor.buffer]
    model.buffers = kept
