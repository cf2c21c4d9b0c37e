"""What `verify` finds layer by layer, and what it says of it."""

from dataclasses import dataclass

from siman_larq.conversion.rounding import LIMIT

__all__ = ["LayerReport", "LayersReport"]

_CAUSE = "this is a bug or a wrong file"
_NAMED = 3


@dataclass(frozen=True)
class LayerReport:
    """How the signs that a file gives to a binary layer compare with Keras's.

    Keras is given the file's own signs in all layers before it.

    # Attributes
        name: The layer's name.
        operator: The number of its 1-bit op among the file's operators, or of the LceDequantize in
            front of a float one.
        behind: Name of the last binary layer that its inputs are made from; empty for none.
        signs: How many signs were compared.
        different: How many of them differ.
        first_images: Numbers of the images of which the first differing sign is here.
        wrong_codes: How many of its kernel's signs are not those of the file.
        image, activation, roundings: Of the differing sign furthest from 0 the number of its
            image, the activation in Keras, and how many roundings that is from 0.
    """

    name: str
    operator: int
    behind: str
    signs: int
    different: int
    first_images: tuple[int, ...]
    wrong_codes: int
    image: int | None
    activation: float
    roundings: float

    @property
    def is_wrong(self) -> bool:
        """Whether there is more than rounding to it."""
        return self.wrong_codes > 0 or self.roundings > LIMIT

    def __str__(self) -> str:
        if self.wrong_codes:
            bits = "1 bit" if self.wrong_codes == 1 else f"{self.wrong_codes:,} bits"
            verb = "is" if self.wrong_codes == 1 else "are"
            return f"layer {self.name}: {bits} of its kernel {verb} not the file's"
        if not self.different:
            return f"layer {self.name}: equal"
        behind = f" (behind {self.behind})" if self.behind else ""
        return (
            f"layer {self.name}{behind}, image {self.image}, activation {self.activation:.3g}, "
            f"{self.roundings:.3g} roundings from 0"
        )


@dataclass(frozen=True)
class OutputRoundings:
    """How far an output of a file is from the model's, which is given the file's signs.

    # Attributes
        name: The output's name.
        behind: Name of the file's last binary layer; empty for none.
        image, difference, roundings: The largest difference in roundings, its image and what it
            is in the output; `None` and 0 where there is none.
    """

    name: str
    behind: str
    image: int | None = None
    difference: float = 0.0
    roundings: float = 0.0

    @property
    def is_wrong(self) -> bool:
        """Whether there is more than rounding to it."""
        return self.roundings > LIMIT

    def __str__(self) -> str:
        behind = f" (behind {self.behind})" if self.behind else ""
        return (
            f"output {self.name}{behind}, image {self.image}, off by {self.difference:.3g}, "
            f"{self.roundings:.3g} roundings"
        )


@dataclass(frozen=True)
class LayersReport:
    """What `verify(layers=True)` found; `str()` is the verdict.

    # Attributes
        layers: A `LayerReport` for each binary layer, in the file's order.
        outputs: An `OutputRoundings` for each output.
        images: Number of images compared.
    """

    layers: tuple[LayerReport, ...]
    outputs: tuple[OutputRoundings, ...]
    images: int

    @property
    def is_equal(self) -> bool:
        """Whether no sign differs in any image, and outputs by roundings at most."""
        return not (self.is_wrong or self._turned)

    @property
    def is_wrong(self) -> bool:
        """Whether there is a difference that rounding does not explain."""
        return bool(self._wrong)

    @property
    def _wrong(self) -> list[str]:
        layers = [str(layer) for layer in self.layers if layer.is_wrong]
        return layers + [str(output) for output in self.outputs if output.is_wrong]

    @property
    def _turned(self) -> int:
        return sum(len(layer.first_images) for layer in self.layers)

    def __str__(self) -> str:
        if wrong := self._wrong:
            more = f", and {len(wrong) - 1} more" if len(wrong) > 1 else ""
            return f"DIFFERENT: {wrong[0]}{more}: {_CAUSE}"
        if self.is_equal:
            return "equal"
        first = [layer.name for layer in self.layers if layer.first_images]
        more = f" and {len(first) - _NAMED} layers more" if len(first) > _NAMED else ""
        most = max(layer.roundings for layer in self.layers)
        return (
            f"equal up to rounding: {self._turned} of {self.images} images, first differences at "
            f"{', '.join(first[:_NAMED])}{more}, at most {most:.2g} roundings from 0"
        )
