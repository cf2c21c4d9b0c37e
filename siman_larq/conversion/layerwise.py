"""Follows images through a model and its file, from one layer that reads bits to the next."""

from dataclasses import dataclass, field, replace

import numpy as np
import tensorflow as tf

from siman_larq.conversion.binary import leaves
from siman_larq.conversion.flatbuffer import TFLiteFile
from siman_larq.conversion.forced import Forced, Place
from siman_larq.conversion.layer_report import LayerReport, LayersReport, OutputRoundings
from siman_larq.conversion.pairing import paired
from siman_larq.conversion.rounding import LIMIT, Roundings
from siman_larq.conversion.signature import Inputs

__all__ = ["Layerwise"]

# Of signs as float32, in one step.
_STEP_BYTES = 2**26


@dataclass
class _Found:
    signs: int = 0
    different: int = 0
    first_images: list[int] = field(default_factory=list)
    image: int | None = None
    activation: float = 0.0
    roundings: float = 0.0


@dataclass(frozen=True)
class _Step:
    """The model's inputs, and the file's bits by the tensors that they are in place of."""

    values: list[np.ndarray]
    bits: dict[str, np.ndarray]


class Layerwise:
    """Compares the signs that go into each op on bits of a file with the model's.

    The model is given the file's own signs in all of them, so that each is judged by itself, and
    so are the outputs, by what is made of the last signs. Up to the first differing sign of an
    image these are the model's own.

    # Arguments
        model: The model.
        inputs: Its inputs.
        file: The file.
        names: Names of the outputs.

    # Raises
        ValueError: for a file of another model, one that computes in integers, or a model that also
            quantizes in a way that no bits of the file show.
    """

    def __init__(
        self, model: tf.keras.Model, inputs: Inputs, file: TFLiteFile, names: list[str]
    ) -> None:
        types = {tensor.type for tensor in file.graph.tensors}
        if file.schema.TensorType.INT8 in types:
            raise ValueError(
                "verify: layers=True counts in roundings of float32, and this file computes in "
                "8-bit integers: leave layers out and judge it by its agreement or accuracy; its "
                "1-bit ops can be followed in a file that convert makes without float_ops='int8'."
            )
        self._forced = Forced(model, inputs)
        places = [self._forced.place(pair) for pair in paired(model, self._forced.calls, file)]
        self._places = [place for place in places if place.is_followed]
        self._roundings = Roundings(self._forced, self._places)
        _check_followed(model, self._roundings)
        self._found = [_Found() for _ in self._places]
        last = self._places[-1].pair.layer.name if self._places else ""
        self._outputs = [OutputRoundings(name, last) for name in names]
        self._has_free_batch = all(spec.shape[0] is None for spec in inputs.specs)
        self._are_per_image = all(map(self._forced.is_per_image, self._forced.outputs))
        self._images = 0

    @property
    def images_at_once(self) -> int:
        """How many images take little memory."""
        sizes = [np.prod([n or 1 for n in place.fed.shape[1:]]) for place in self._places]
        return max(1, int(_STEP_BYTES // (4 * sum(sizes) + 1)))

    def add(
        self,
        values: list[np.ndarray],
        count: int,
        traced: dict[int, np.ndarray],
        outputs: list[np.ndarray],
    ) -> None:
        """Takes some images.

        # Arguments
            values: The model's inputs.
            count: How many of them count.
            traced: The bits that went into the file's ops, by the number of each.
            outputs: The file's outputs, in the model's order.

        # Raises
            ValueError: if the bits of an op are missing.
        """
        words = [_bits(place, traced) for place in self._places]
        given = [place.unpacked(part) for place, part in zip(self._places, words, strict=True)]
        fed = [place.as_fed(part) for place, part in zip(self._places, given, strict=True)]
        step = _Step(values, {p.fed.name: s for p, s in zip(self._places, fed, strict=True)})
        wanted = [place.is_negative for place in self._places]
        fetched = [wanted, self._forced.outputs]
        negative, made = self._forced.run(fetched, step.values, step.bits)
        has_differed = np.zeros(count, bool)
        for number, found in enumerate(self._found):
            differs = (self._places[number].at_bits(negative[number]) != given[number])[:count]
            found.signs += differs.size
            found.different += int(np.count_nonzero(differs))
            is_turned = differs.any(axis=tuple(range(1, differs.ndim)))
            for image in np.flatnonzero(is_turned):
                self._judge(number, int(image), differs[image], step)
            first = np.flatnonzero(is_turned & ~has_differed)
            found.first_images += (self._images + first).tolist()
            has_differed |= is_turned
        for number, (ours, theirs) in enumerate(zip(made, outputs, strict=True)):
            self._compare(number, ours, theirs, step)
        self._images += count

    def _judge(self, number: int, image: int, differs: np.ndarray, step: _Step) -> None:
        """How far from 0 the activations of the differing signs of an image are."""
        found, place = self._found[number], self._places[number]
        if found.roundings > LIMIT:
            return  # No more need be known.
        step, at = self._alone(step, image)
        for index in self._worst_of_channels(place, at, differs, step):
            activation, roundings = self._roundings.of_sign(place, index, step.values, step.bits)
            if roundings >= found.roundings:
                found.image = self._images + image
                found.activation, found.roundings = activation, roundings
            if roundings > LIMIT:
                return

    def _alone(self, step: _Step, image: int) -> tuple[_Step, int]:
        """An image without the others of its step, if the model takes it so; and its place."""
        if not self._has_free_batch:
            return step, image
        bits = {name: signs[image : image + 1] for name, signs in step.bits.items()}
        return _Step([value[image : image + 1] for value in step.values], bits), 0

    def _worst_of_channels(
        self, place: Place, image: int, differs: np.ndarray, step: _Step
    ) -> list[tuple[int, ...]]:
        """Where, of each channel with differing signs, the activation furthest from 0 is."""
        indices = [place.index(image, *position) for position in np.argwhere(differs).tolist()]
        if place.activation is None:
            return indices[:1]
        activations = self._forced.run(place.activation, step.values, step.bits)
        sizes = activations.shape[1:-1]

        def order(index: tuple[int, ...]) -> tuple[float, int]:
            # Of equal ones that within the border, where zero padding rounds nothing.
            ends = (min(n, size - 1 - n) for n, size in zip(index[1:-1], sizes, strict=True))
            return abs(float(activations[index])), min(ends, default=0)

        # The last of each channel stays.
        worst = {index[-1]: index for index in sorted(indices, key=order)}
        return sorted(worst.values(), key=order, reverse=True)

    def _compare(self, number: int, ours: np.ndarray, theirs: np.ndarray, step: _Step) -> None:
        """How many roundings an output of the file is off where it is furthest off."""
        tensor, found = self._forced.outputs[number], self._outputs[number]
        if self._are_per_image:
            ours = ours[: len(theirs)]
        else:
            theirs = theirs[0]
        is_same = (ours == theirs) | (np.isnan(ours) & np.isnan(theirs))
        if found.is_wrong or is_same.all():
            return
        differences = np.where(is_same, 0, np.abs(ours.astype(np.float64) - theirs))
        differences[np.isnan(differences)] = np.inf
        worst = np.unravel_index(differences.argmax(), differences.shape)
        difference, roundings = float(differences[worst]), float("inf")
        index, image = tuple(map(int, worst)), 0
        if self._are_per_image:
            image = index[0]
            step, at = self._alone(step, image)
            index = (at, *index[1:])
        if tensor.dtype.is_floating and np.isfinite(difference):
            roundings = self._roundings.of_output(tensor, index, difference, step.values, step.bits)
        if roundings >= found.roundings:
            self._outputs[number] = replace(
                found, image=self._images + image, difference=difference, roundings=roundings
            )

    def report(self) -> LayersReport:
        """The result over all images."""
        layers = tuple(
            LayerReport(
                name=place.pair.layer.name,
                operator=place.pair.node,
                behind=self._roundings.behind(place),
                signs=found.signs,
                different=found.different,
                first_images=tuple(found.first_images),
                wrong_codes=place.pair.wrong_codes,
                image=found.image,
                activation=found.activation,
                roundings=found.roundings,
            )
            for number, (place, found) in enumerate(zip(self._places, self._found, strict=True))
        )
        return LayersReport(layers, tuple(self._outputs), self._images)


def _bits(place: Place, traced: dict[int, np.ndarray]) -> np.ndarray:
    if place.pair.node not in traced:
        raise ValueError(
            "verify: layers=True needs the signs that go into layer "
            f"{place.pair.layer.name}, and the siman-runtime installed here, an older one, does "
            "not tell them: pip install --force-reinstall ./runtime in siman-larq's repository."
        )
    return traced[place.pair.node]


def _check_followed(model: tf.keras.Model, roundings: Roundings) -> None:
    """Roundings explain no jump of a quantizer, so all that quantize have to be followed."""
    names = {layer.name for layer in leaves(model)}
    others: dict[str, None] = {}
    for jump in roundings.jumps():
        scopes = [name for name in jump.name.split("/") if name in names]
        others[scopes[0] if scopes else jump.name] = None
    if others:
        raise ValueError(
            "verify: layers=True follows signs that are bits in the file right before a "
            "convolution or a dense layer, and what is quantized or compared in "
            f"{', '.join(others)} is not, where rounding may turn it; leave layers out."
        )
