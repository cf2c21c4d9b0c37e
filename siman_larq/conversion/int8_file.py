"""The int8 operators of a file, held against the graph that it was made of."""

from dataclasses import dataclass

import numpy as np

from siman_larq.conversion.errors import ConversionError
from siman_larq.conversion.flatbuffer import TFLiteFile, written
from siman_larq.conversion.freeze import Graph
from siman_larq.conversion.int8 import Int8Graph, Quantized
from siman_larq.conversion.outputs import are_equal
from siman_larq.conversion.proof import NOT_COMPARED, run_steps

__all__ = ["check_int8", "without_barriers"]

_KINDS = {"Conv2D": "CONV_2D", "DepthwiseConv2dNative": "DEPTHWISE_CONV_2D"}

# Integers may be one off, as they are rounded in another way.
_STEPS = 1.01
# Of the largest output: some such steps.
_TOLERANCE = 0.02


@dataclass(frozen=True)
class _Scale:
    """What an int8 tensor's integers stand for."""

    step: float
    zero: int

    def number(self, integers: np.ndarray) -> np.ndarray:
        return (integers.astype(np.float32) - self.zero) * np.float32(self.step)


@dataclass(frozen=True)
class _Place:
    """The tensors before and behind an int8 operator."""

    given: int
    made: int


def without_barriers(tflite: bytes) -> bytes:
    """A file without additions of 0, which change nothing; TFLite leaves none but those of -0.0."""
    file = TFLiteFile(tflite)
    graph, kept = file.graph, []
    moved: dict[int, int] = {}
    for name, operator in zip(file.operators, graph.operators, strict=True):
        operator.inputs = np.array([moved.get(n, n) for n in operator.inputs], np.int32)
        if name == "ADD" and not operator.builtinOptions.fusedActivationFunction:
            zeros = [n for n in operator.inputs if _is_zero(file, n)]
            if len(zeros) == 1:
                (moved[operator.outputs[0]],) = set(operator.inputs) - set(zeros)
                continue
        kept.append(operator)
    graph.operators = kept
    graph.outputs = np.array([moved.get(n, n) for n in graph.outputs], np.int32)
    return written(file.content, len(tflite))


def check_int8(
    made: Int8Graph, tflite: bytes, float_file: bytes, steps: list[list[np.ndarray]]
) -> str | None:
    """Raises unless a file's int8 operators are the graph's, and its 1-bit ones the float file's.

    Every int8 operator must have the graph's kernel and bias, and give what the graph gives for
    the same integers, within one. From inputs to outputs an integer that is one off may turn a
    sign, so that it takes but one of the samples to be equal.

    # Arguments
        made: The graph.
        tflite: Its file.
        float_file: The file of the same model without integers, which equals the model.
        steps: Inputs to run it on, each what the file takes in a step.

    # Returns
        A sentence when the file could only be shown to be right part by part, else `None`.

    # Raises
        ConversionError: naming the operation that differs.
        LceError: when the file does not load or run.
    """
    file = TFLiteFile(tflite)
    if not _have_equal_bits(file, TFLiteFile(float_file)):
        raise ConversionError(
            "Larq Compute Engine made other 1-bit operators with float_ops='int8' than without; "
            "leave it out."
        )
    numbers = list(file.int8_operators)
    places = [_place(quantized, file, numbers) for quantized in made.sections]
    outputs = list(file.graph.outputs)
    watched = dict.fromkeys(tensor for place in places for tensor in (place.given, place.made))
    file.graph.outputs = np.array([*outputs, *watched], np.int32)
    of_file = run_steps(written(file.content, len(tflite)), steps)
    if of_file is None:
        return NOT_COMPARED
    for step in of_file:
        integers = dict(zip(watched, step[len(outputs) :], strict=True))
        for place, quantized in zip(places, made.sections, strict=True):
            _check_section(made.graph, quantized, file, place, integers)
    expected = [made.graph.run(step)[0] for step in steps]
    if any(
        all(are_equal(a, b, _TOLERANCE) for a, b in zip(wanted, step, strict=False))
        for wanted, step in zip(expected, of_file, strict=True)
    ):
        return None
    return (
        "Each int8 operator of the file is right, but from inputs to outputs none of "
        f"{len(steps)} samples gives what the model does with 8-bit numbers: rounding turned a "
        "sign in each. Compare accuracy with verify(model, tflite, images)."
    )


def _check_section(
    graph: Graph,
    quantized: Quantized,
    file: TFLiteFile,
    place: _Place,
    integers: dict[int, np.ndarray],
) -> None:
    """Raises unless the graph makes of an operator's inputs what the operator made of them."""
    before, behind = _scale(file, place.given), _scale(file, place.made)
    if abs(behind.step - quantized.step) > 1e-4 * quantized.step:
        raise _difference(quantized, f"counts in steps of {behind.step:g}, not {quantized.step:g}")
    given, found = before.number(integers[place.given]), behind.number(integers[place.made])
    expected = graph.run_part(quantized.given, given, quantized.made)
    if expected.size != found.size:
        raise _difference(quantized, f"gives {found.size} numbers in place of {expected.size}")
    off = np.abs(expected.ravel() - found.ravel()) / behind.step
    if off.max(initial=0) > _STEPS:
        raise _difference(quantized, f"gives outputs that are {off.max():.0f} steps off")


def _is_zero(file: TFLiteFile, index: int) -> bool:
    """Whether a tensor is a constant, a single float without axes, and 0."""
    tensor, content = file.graph.tensors[index], file.constant(index)
    has_axes = tensor.shape is not None and len(tensor.shape) > 0
    if tensor.type != file.schema.TensorType.FLOAT32 or has_axes or not content:
        return False
    return float(np.frombuffer(content, np.float32)[0]) == 0


def _scale(file: TFLiteFile, tensor: int) -> _Scale:
    quantization = file.graph.tensors[tensor].quantization
    return _Scale(float(quantization.scale[0]), int(quantization.zeroPoint[0]))


def _difference(quantized: Quantized, what: str) -> ConversionError:
    return ConversionError(
        f"The int8 operator of {quantized.section.operation.name!r} {what}: Larq Compute Engine "
        "converted it wrongly; leave float_ops='int8' out."
    )


def _place(quantized: Quantized, file: TFLiteFile, numbers: list[int]) -> _Place:
    """The first operator left that has a section's kernel and bias."""
    kind = _KINDS.get(quantized.section.operation.type, "FULLY_CONNECTED")
    for number in numbers:
        operator = file.graph.operators[number]
        kernel, bias = (*operator.inputs, -1)[1:3]
        if (
            file.operators[number] == kind
            and _holds(file, kernel, _in_file(quantized), of_step=0.01)
            and _holds(file, bias, quantized.bias, of_step=0.51)
        ):
            numbers.remove(number)
            return _Place(int(operator.inputs[0]), int(operator.outputs[0]))
    raise _difference(quantized, "is missing from the file, or has another kernel or bias")


def _in_file(quantized: Quantized) -> np.ndarray:
    """A kernel with its axes in a file's order."""
    kernel, kind = quantized.kernel, quantized.section.operation.type
    if kind == "Conv2D":
        return kernel.transpose(3, 0, 1, 2)
    if kind == "MatMul":
        return kernel.T
    return kernel.reshape(1, *kernel.shape[:2], -1)


def _holds(file: TFLiteFile, index: int, wanted: np.ndarray, of_step: float) -> bool:
    """Whether a constant of integers stands for numbers, up to a part of its steps."""
    if index < 0:
        return not wanted.any()
    tensor = file.graph.tensors[index]
    types = {file.schema.TensorType.INT8: np.int8, file.schema.TensorType.INT32: np.int32}
    if tensor.type not in types or tuple(tensor.shape) != wanted.shape:
        return False
    integers = np.frombuffer(file.constant(index), types[tensor.type]).reshape(wanted.shape)
    shape = [1] * wanted.ndim
    shape[tensor.quantization.quantizedDimension] = -1
    step = np.asarray(tensor.quantization.scale, np.float64)
    step = step.reshape(shape) if step.size > 1 else step
    off = np.abs(integers * step - wanted)
    return bool((off <= of_step * step + 1e-6 * np.abs(wanted)).all())


def _have_equal_bits(file: TFLiteFile, other: TFLiteFile) -> bool:
    """Whether two files have the same 1-bit convolutions."""
    ours, theirs = (_binary_constants(each) for each in (file, other))
    return len(ours) == len(theirs) and all(
        a[0] == b[0] and a[1].shape == b[1].shape and np.allclose(a[1], b[1], rtol=1e-5, atol=1e-6)
        for a, b in zip(ours, theirs, strict=True)
    )


def _binary_constants(file: TFLiteFile) -> list[tuple[bytes, np.ndarray]]:
    """Kernel and numbers per filter of each 1-bit convolution, in an order of their own."""
    found = []
    for convolution in file.binary_convolutions:
        rest = [n for n in file.graph.operators[convolution.node].inputs[2:] if n >= 0]
        content = b"".join(file.constant(n) for n in rest)
        found.append((convolution.key, np.frombuffer(content, np.float32)))
    return sorted(found, key=lambda pair: (pair[0], pair[1].tolist()))
