r"""How near 0 an activation is, in roundings of the numbers that made it."""

import numpy as np
import tensorflow as tf

from siman_larq.conversion.forced import Forced, Place
from siman_larq.conversion.jumps import is_jump
from siman_larq.conversion.misread import independent

__all__ = ["LIMIT", "Roundings"]

LIMIT = 16.0
"""Up to how many roundings a difference is taken for rounding alone."""

_EPSILON = float(np.finfo(np.float32).eps)
# Ops that make no numbers of others.
_COPIES = ("Identity", "IdentityN", "Reshape", "Squeeze", "ExpandDims")

Bits = dict[str, np.ndarray]


class Roundings:
    r"""How near 0 activations are, and a file's outputs the model's, in roundings.

    Of the numbers \\(t\\) that made them: weights, and all that is computed from the inputs, or
    from the bits of earlier binary convolutions, on. If each is off by one unit in its last place,
    independently of the others, an activation \\(a\\) is off by the denominator of
    \\[
    r(a) = \frac{|a|}{\epsilon \sqrt{\sum_t (t \, \partial a / \partial t)^2}},
    \quad \epsilon = 2^{-23}
    \\]
    A file makes \\(m (K - 2n) + b\\) of a binary convolution of \\(K\\) signs of which
    \\(n\\) differ, with \\(m K + b\\) a number of its own for each filter, so \\(K\\)
    stands for \\(t\\) there. Where all numbers are 0, this is rounded at zero-padded borders
    only, and \\(r\\) is infinite elsewhere. A float op adds one by one, so for its sum of signs the
    magnitudes of the filter's weights stand for \\(t\\), together and everywhere.

    # Arguments
        forced: The model.
        places: Where the file's bits go.
    """

    def __init__(self, forced: Forced, places: list[Place]) -> None:
        self._forced, self._places = forced, places
        self._ends = [place.fed for place in places]
        self._convolved = {p.convolved.name: p for p in places if p.convolved is not None}
        self._fixed = independent(forced.graph)
        self._scales: dict[str, list[tf.Tensor]] = {}

    def of_sign(
        self, place: Place, index: tuple[int, ...], values: list[np.ndarray], bits: Bits
    ) -> tuple[float, float]:
        """The activation that a bit of a place is the sign of, and its roundings from 0.

        # Arguments
            place: The place.
            index: Where in it.
            values: The model's inputs.
            bits: The file's bits, by the tensors that they are in place of.
        """
        if place.activation is None:
            return float("nan"), float("inf")
        scale = self._scale(place.activation, index, values, bits)
        activation = float(self._forced.run(place.activation, values, bits)[index])
        return activation, abs(activation) / scale if scale > 0 else float("inf")

    def of_output(
        self,
        output: tf.Tensor,
        index: tuple[int, ...],
        difference: float,
        values: list[np.ndarray],
        bits: Bits,
    ) -> float:
        """How many roundings a difference from an entry of an output is, likewise."""
        scale = self._scale(output, index, values, bits)
        return difference / scale if scale > 0 else float("inf")

    def behind(self, place: Place) -> str:
        """The name of the last binary layer that the signs of a place are made from."""
        if place.activation is None:
            return ""
        before = {tensor.name for tensor in self._numbers_of(place.activation)}
        names = [
            other.pair.layer.name
            for other in self._places
            if other.convolved is not None and other.convolved.name in before
        ]
        return names[-1] if names else ""

    def jumps(self) -> list[tf.Operation]:
        """Those behind outputs and signs, up to bits: roundings do not explain what they do."""
        activations = [p.activation for p in self._places if p.activation is not None]
        behind = self._behind([*self._forced.outputs, *activations])
        return list({number.op.name: number.op for number in behind if is_jump(number.op)}.values())

    def _scale(
        self, tensor: tf.Tensor, index: tuple[int, ...], values: list[np.ndarray], bits: Bits
    ) -> float:
        """By how much an entry is off if each number behind it is."""
        if tensor.name not in self._scales:
            with self._forced.graph.as_default():
                self._scales[tensor.name] = self._scale_of(tensor)
        wanted, *fetched = self._scales[tensor.name]
        bits = bits | {wanted.name: np.array([index], np.int32)}
        own, of_file, at_border = self._forced.run(fetched, values, bits)
        return _EPSILON * float(np.sqrt(own + (of_file if own > 0 else at_border)))

    def _scale_of(self, tensor: tf.Tensor) -> list[tf.Tensor]:
        wanted = tf.compat.v1.placeholder(tf.int32, [1, tensor.shape.rank])
        numbers = self._numbers_of(tensor)
        gradients = tf.gradients(tf.gather_nd(tensor, wanted), numbers, stop_gradients=self._ends)
        own, of_file, at_border = ([tf.constant(0.0)] for _ in range(3))
        for number, gradient in zip(numbers, gradients, strict=True):
            if gradient is None:
                continue
            gradient = tf.convert_to_tensor(gradient)
            own.append(_squares(gradient * number))
            if place := self._convolved.get(number.name):
                gradient *= place.pair.sums
                of_filters = tf.reduce_sum(gradient, axis=list(range(1, number.shape.rank - 1)))
                of_file.append(_squares(gradient) + _squares(of_filters))
                at_border.append(_squares(gradient * place.border))
        return [wanted, *map(tf.add_n, (own, of_file, at_border))]

    def _numbers_of(self, tensor: tf.Tensor) -> list[tf.Tensor]:
        """The float32 tensors that one is made from, up to bits."""
        return [
            number
            for number in self._behind([tensor])
            if number.dtype == tf.float32
            and (number.op.type not in _COPIES or number.op.name in self._fixed)
        ]

    def _behind(self, tensors: list[tf.Tensor]) -> list[tf.Tensor]:
        """The tensors that some are made from, up to bits."""
        ends = {end.name for end in self._ends}
        found: dict[str, tf.Tensor] = {}
        waiting = list(tensors)
        while waiting:
            number = waiting.pop()
            if number.name in found or number.name in ends:
                continue
            found[number.name] = number
            # What weights were made from, and codes, no file has.
            if number.op.name not in self._fixed and number.name not in self._convolved:
                waiting += list(number.op.inputs)
        return list(found.values())


def _squares(numbers: tf.Tensor) -> tf.Tensor:
    return tf.reduce_sum(numbers**2)
