"""A model whose layers are given the bits of a file in place of their own."""

from functools import cached_property
from typing import Any

import larq as lq
import numpy as np
import tensorflow as tf

from siman_larq.conversion.binary import is_binary, leaves
from siman_larq.conversion.freeze import frozen, plain_session
from siman_larq.conversion.misread import sign_argument, source
from siman_larq.conversion.pairing import Pair
from siman_larq.conversion.patches import Patch, as_in_a_file, codes_as_constants, patched
from siman_larq.conversion.signature import Inputs

__all__ = ["Forced", "Place"]

# Ops that sum what they read by a kernel.
_SUMS = ("Conv2D", "DepthwiseConv2dNative", "MatMul")
_COMPARISONS = {"Greater": 1, "GreaterEqual": 1, "Less": -1, "LessEqual": -1}
# Ops that only choose among values or move them, so that what holds of signs holds of them.
_MOVES = ("MaxPool", "StridedSlice", "Reshape", "Transpose", "Squeeze", "ExpandDims")


class Forced:
    """A model as a graph, in the form that its file has: float32, and a sign of 0 that is 1.

    # Arguments
        model: The model.
        inputs: Its inputs.

    # Attributes
        calls: The layer of each call that quantizes its inputs or has a binary convolution, in
            order.
        graph: The graph.
        outputs: Its outputs.
    """

    def __init__(self, model: tf.keras.Model, inputs: Inputs) -> None:
        self.calls: list[tf.keras.layers.Layer] = []
        layers = {id(layer): layer for layer in leaves(model)}
        patches = [patch for layer in layers.values() for patch in self._watching(layer)]
        with as_in_a_file(model), codes_as_constants(model), patched(patches):
            made = frozen(model, inputs)
        definition = made.function.graph.as_graph_def()
        for node in definition.node:
            # Of how a model is trained; here gradients tell what rounding does to activations.
            node.attr.pop("_gradient_op_type", None)
        self.graph = tf.Graph()
        with self.graph.as_default():
            tf.import_graph_def(definition, name="")
        self._inputs = [f"{name}:0" for name in made.names]
        self.outputs = [
            self.graph.get_tensor_by_name(tensor.name) for tensor in made.function.outputs
        ]
        self._marks = {
            int(operation.name.rpartition("siman_bits_")[2]): operation.outputs[0]
            for operation in self.graph.get_operations()
            if operation.type == "Identity" and "siman_bits_" in operation.name
        }

    def _watching(self, layer: tf.keras.layers.Layer) -> list[Patch]:
        quantize = getattr(layer, "input_quantizer", None)
        if isinstance(layer, lq.layers.QuantConv2D) and (quantize or is_binary(layer)):
            # Whose inputs may be binary without a quantizer of its own.
            convolve = layer.convolution_op

            def convolution_op(inputs: tf.Tensor, kernel: Any) -> tf.Tensor:
                return convolve(self._marked(inputs, layer), kernel)

            return [(layer, "convolution_op", convolution_op)]
        if quantize is None:
            return []
        return [(layer, "input_quantizer", lambda inputs: self._marked(quantize(inputs), layer))]

    def _marked(self, inputs: tf.Tensor, layer: tf.keras.layers.Layer) -> tf.Tensor:
        self.calls.append(layer)
        return tf.identity(inputs, f"siman_bits_{len(self.calls) - 1}")

    def place(self, pair: Pair) -> "Place":
        """Where the bits that go into an op of a file go."""
        return Place(self.graph, self._marks[pair.call], pair)

    def is_per_image(self, tensor: tf.Tensor) -> bool:
        """Whether the first axis of a tensor counts the images, as far as shapes tell."""
        shape = tensor.shape
        images = self.graph.get_tensor_by_name(self._inputs[0]).shape[0]
        return shape.rank is None or (shape.rank > 0 and shape[0] == images)

    def run(self, fetched: Any, values: list[np.ndarray], bits: dict[str, np.ndarray]) -> Any:
        """What tensors are for inputs, with other values in place of some tensors."""
        given = dict(zip(self._inputs, values, strict=True))
        return self._session.run(fetched, given | bits)

    @cached_property
    def _session(self) -> tf.compat.v1.Session:
        return plain_session(self.graph)


class Place:
    """Where the bits that go into an op of a file go in the graph of its model.

    # Arguments
        graph: The graph.
        mark: What goes into the layer there.
        pair: The op, and the call of a layer that it stands for.

    # Attributes
        fed: The tensor that they are in place of.
        is_negative: Which of them the model would have set.
        activation: What they are the signs of; `None` if that cannot be told.
        convolved: What the model sums of them; `None` if that cannot be told.
        is_followed: Whether they are signs there, and fit.
    """

    def __init__(self, graph: tf.Graph, mark: tf.Tensor, pair: Pair) -> None:
        self.pair = pair
        whole = _unpadded(mark)
        self._strides = (1, 1)
        self.fed = whole
        # A file may take the positions that a 1x1 filter sees before it.
        sizes = zip(whole.shape[1:3], pair.maps[1:3], strict=False)
        is_1x1 = not pair.is_float and pair.layer.kernel_size == (1, 1)
        if is_1x1 and any(ours not in (None, n) for ours, n in sizes):
            self._strides, self.fed = pair.layer.strides, mark
        operation = self.fed.op
        with graph.as_default():
            again = graph.create_op(
                operation.type,
                list(operation.inputs),
                [output.dtype for output in operation.outputs],
                attrs=dict(operation.node_def.attr),
            )
            self.is_negative = again.outputs[self.fed.value_index] < 0
            self.activation = _activation(whole)
        convolved = [
            _whole(operation.outputs[0])
            for operation in graph.get_operations()
            if operation.type in _SUMS and _comes_from(operation.inputs[0], mark)
        ]
        self.convolved = convolved[0] if convolved else None
        self.border = _border(pair, self.convolved)
        fits = whole.shape.rank == len(pair.maps)
        self.is_followed = not pair.is_float or (fits and self.activation is not None)

    def unpacked(self, words: np.ndarray) -> np.ndarray:
        """Which bits are set, of words as a file has them."""
        given = np.ascontiguousarray(words).view(np.uint8)
        bits = np.unpackbits(given, axis=-1, bitorder="little")
        return bits[..., : self.pair.channels].astype(bool)

    def as_fed(self, is_set: np.ndarray) -> np.ndarray:
        """Bits as signs, in the shape of the tensor that they are in place of."""
        signs = np.where(is_set, np.float32(-1), np.float32(1))
        if self._strides == (1, 1):
            return signs
        full = np.ones((len(signs), *self.fed.shape[1:]), np.float32)
        self.at_bits(full)[:] = signs
        return full

    def index(self, image: int, *position: int) -> tuple[int, ...]:
        """Where the activation of a bit is."""
        if self._strides == (1, 1):
            return image, *position
        row, column, channel = position
        return image, row * self._strides[0], column * self._strides[1], channel

    def at_bits(self, values: np.ndarray) -> np.ndarray:
        """Those of the fed tensor's values that there are bits for."""
        if self._strides == (1, 1):
            return values
        return values[:, :: self._strides[0], :: self._strides[1]]


def _unpadded(tensor: tf.Tensor) -> tf.Tensor:
    """What a tensor was before ones were padded around it."""
    tensor = source(tensor)
    while tensor.op.type == "PadV2" and tf.get_static_value(tensor.op.inputs[2]) == 1:
        tensor = source(tensor.op.inputs[0])
    return tensor


def _border(pair: Pair, convolved: tf.Tensor | None) -> np.ndarray:
    """Where zeros are under a filter, 1, of the convolved maps; all where sizes are unknown.

    And all of a float op, which rounds as it adds.
    """
    if pair.is_float:
        return np.ones(1, np.float32)
    layer = pair.layer
    if layer.padding != "same" or layer.pad_values != 0:
        return np.zeros((1, 1, 1, 1), np.float32)
    if convolved is None or None in convolved.shape[1:3]:
        return np.ones((1, 1, 1, 1), np.float32)
    inside = []
    for size, count, side, stride, rate in zip(
        pair.maps[1:3],
        convolved.shape[1:3],
        layer.kernel_size,
        layer.strides,
        layer.dilation_rate,
        strict=True,
    ):
        reach = (side - 1) * rate + 1
        before = max((count - 1) * stride + reach - size, 0) // 2
        first = np.arange(count) * stride - before
        inside.append((first >= 0) & (first + reach <= size))
    is_inside = np.logical_and.outer(*inside)
    return 1 - is_inside[np.newaxis, ..., np.newaxis].astype(np.float32)


def _comes_from(tensor: tf.Tensor, mark: tf.Tensor) -> bool:
    """Whether a tensor is another, padded or taken apart for a dilated filter if need be."""
    while tensor.op is not mark.op:
        if tensor.op.type not in ("Identity", "IdentityN", "SpaceToBatchND", "Pad", "PadV2"):
            return False
        tensor = tensor.op.inputs[tensor.value_index]
    return True


def _whole(tensor: tf.Tensor) -> tf.Tensor:
    """Maps put together again that were taken apart for a dilated filter."""
    users = [user for user in tensor.consumers() if user.type == "BatchToSpaceND"]
    return users[0].outputs[0] if users else tensor


def _activation(tensor: tf.Tensor) -> tf.Tensor | None:
    """What the signs in a tensor are taken of."""
    operation = source(tensor).op
    if operation.type == "Sign":
        return sign_argument(operation)
    if operation.type in ("Select", "SelectV2"):
        return _compared(*operation.inputs)
    if operation.type not in _MOVES:
        return None
    moved = _activation(operation.inputs[0])
    if moved is None:
        return None
    again = tf.compat.v1.get_default_graph().create_op(
        operation.type,
        [moved, *operation.inputs[1:]],
        [output.dtype for output in operation.outputs],
        attrs=dict(operation.node_def.attr),
    )
    return again.outputs[0]


def _compared(condition: tf.Tensor, positive: tf.Tensor, negative: tf.Tensor) -> tf.Tensor | None:
    """What has to be above or below 0 for one of two values to be chosen."""
    comparison = source(condition).op
    turn = _COMPARISONS.get(comparison.type)
    levels = [tf.get_static_value(source(value)) for value in (positive, negative)]
    if turn is None or any(level is None or (np.abs(level) != 1).any() for level in levels):
        return None
    first, second = (np.unique(level).tolist() for level in levels)
    if first != [-second[0]]:
        return None
    turn *= first[0]
    return turn * (comparison.inputs[0] - comparison.inputs[1])
