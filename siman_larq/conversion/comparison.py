"""What `verify` finds: one result for each output, and the table for people."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from siman_larq.conversion.layer_report import LayersReport

__all__ = ["Comparison", "Kept", "OutputReport", "Report", "share_right"]

# The outputs themselves are kept up to so many bytes: maps of a whole test set fill the memory.
_KEPT_BYTES = 2**29


@dataclass(frozen=True)
class OutputReport:
    """How an output of a file compares with the model's.

    # Attributes
        name: Its name: the key where the model gives a dict, else that of its layer.
        shape: Shape for one image.
        max_abs_difference: Largest difference; infinite if a value is NaN or infinite.
        equal: Share of images of which all values are equal within the tolerance.
        agreement: Share of images, or pixels of maps, with the same top-1; `None` where there
            are no classes: for integers, or where the last axis has fewer than two entries.
        not_finite: Number of values that are NaN or infinite, in the model's outputs or the
            file's.
    """

    name: str
    shape: tuple[int, ...]
    max_abs_difference: float
    equal: float
    agreement: float | None
    not_finite: int

    @property
    def agrees(self) -> bool:
        """Whether all images are equal within the tolerance, and all values finite."""
        return self.equal == 1 and self.not_finite == 0


@dataclass(frozen=True)
class Report:
    """What `verify` found; `str()` gives a table.

    # Attributes
        outputs: An `OutputReport` for each output, in Keras's order.
        tolerance: What differences count as equal, relative to the magnitude of outputs.
        packed: Names of the binary layers that are 1-bit ops in the file.
        left_float: Names of the binary layers that are not.
        size_bytes: Size of the file.
        theoretical_bytes: The fewest bytes that the weights can take in the file, binary kernels
            at 1 bit and the others at 32.
        float32_bytes: The same with all weights at 32 bits.
        images: Number of images compared.
        kernel: What ran: `"LCE indirect"`, `"LCE reference"` where only that is right, or
            `"siman-runtime"` with its instruction set.
        keras_outputs: Outputs of the model: an array, or a dict of them by name if there are
            several; `None` if model and file gave more than 512 MiB.
        tflite_outputs: Outputs of the file, likewise.
        int8_operators: Number of convolutions and dense layers of the file that compute in 8-bit
            integers. With any the outputs are near the model's and hardly ever equal, so that
            `agreement`, or accuracy, is what to judge it by.
        layers: What `layers=True` found, a `LayersReport`; `None` without it.
    """

    outputs: tuple[OutputReport, ...]
    tolerance: float
    packed: list[str]
    left_float: list[str]
    size_bytes: int
    theoretical_bytes: int
    float32_bytes: int
    images: int
    kernel: str
    keras_outputs: Any = field(repr=False, compare=False)
    tflite_outputs: Any = field(repr=False, compare=False)
    layers: LayersReport | None = None
    int8_operators: int = 0

    @property
    def agrees(self) -> bool:
        """Whether every output of every image is finite and equal within the tolerance.

        In deep networks rounding may turn a sign in a few images, whose outputs then differ
        altogether; `outputs` tells how many.
        """
        return all(output.agrees for output in self.outputs)

    @property
    def is_of_model(self) -> bool:
        """Whether it agrees; where images were followed by layer, up to what rounding explains."""
        return self.agrees if self.layers is None else not self.layers.is_wrong

    @property
    def agreement(self) -> float | None:
        """Share of images with the same top-1; of several outputs with classes the least.

        `None` where no output has classes.
        """
        shares = [output.agreement for output in self.outputs if output.agreement is not None]
        return min(shares, default=None)

    @property
    def max_abs_difference(self) -> float:
        """Largest difference between outputs; infinite if one is not finite."""
        return max(output.max_abs_difference for output in self.outputs)

    def __str__(self) -> str:
        binary = len(self.packed) + len(self.left_float)
        rows = [
            ("images compared", f"{self.images:,} ({self.kernel} kernel)"),
            ("file agrees with model", "yes" if self.agrees else "NO"),
        ]
        if self.int8_operators:
            near = f"{self.int8_operators}, so outputs are near the model's and not equal"
            rows.append(("int8 operators", near))
        if self.layers is not None:
            rows.append(("layer by layer", str(self.layers)))
        for output in self.outputs:
            prefix = f"{output.name}: " if len(self.outputs) > 1 else ""
            rows += [(prefix + name, value) for name, value in self._rows(output)]
        rows += [
            ("packed binary layers", f"{len(self.packed)} of {binary}"),
            ("left float", ", ".join(self.left_float) or "none"),
            ("file size", f"{self.size_bytes:,} bytes"),
            ("1-bit theory", f"{self.theoretical_bytes:,} bytes"),
            ("float32 weights", f"{self.float32_bytes:,} bytes"),
        ]
        width = max(len(name) for name, _ in rows)
        return "\n".join(f"{name:<{width}}  {value}" for name, value in rows)

    def _rows(self, output: OutputReport) -> list[tuple[str, str]]:
        top1 = "no classes" if output.agreement is None else f"{output.agreement:.2%}"
        rows = [
            (f"images equal within {self.tolerance:.2g}", f"{output.equal:.2%}"),
            ("agreement of top-1", top1),
            ("largest difference of outputs", f"{output.max_abs_difference:.3g}"),
        ]
        if output.not_finite:
            rows.append(("NaN or infinite values", f"{output.not_finite:,}"))
        return rows


class Comparison:
    """Compares an output step by step, so that it need not be held in memory.

    # Arguments
        name: The output's name.
        tolerance: What differences count as equal, relative to the larger of an image's largest
            magnitude and the median of those over all images. Integers must be the same.
    """

    def __init__(self, name: str, tolerance: float) -> None:
        self._name, self._tolerance = name, tolerance
        self._shape: tuple[int, ...] = ()
        self._differences: list[np.ndarray] = []
        self._magnitudes: list[np.ndarray] = []
        self._is_same_top1: list[np.ndarray] = []
        self._not_finite = 0
        self._is_exact = False

    def add(self, ours: np.ndarray, theirs: np.ndarray) -> None:
        """Takes outputs of the model and of the file for some images, which the first axis counts.

        # Raises
            ValueError: for outputs of different shapes.
        """
        if ours.shape != theirs.shape:
            raise ValueError(
                f"verify: output {self._name!r} has the shape {ours.shape[1:]} for an image in the "
                f"model and {theirs.shape[1:]} in the file; this file is of another model."
            )
        self._shape = tuple(ours.shape[1:])
        self._is_exact = all(y.dtype.kind in "iub" for y in (ours, theirs))
        wide = np.int64 if self._is_exact else np.float64
        ours, theirs = ours.astype(wide), theirs.astype(wide)
        if self._shape and self._shape[-1] > 1 and not self._is_exact:
            self._is_same_top1.append(_same_top1(ours, theirs))
        a, b = ours.reshape(len(ours), -1), theirs.reshape(len(ours), -1)
        is_finite = np.isfinite(a) & np.isfinite(b)
        self._not_finite += int(np.count_nonzero(~is_finite))
        with np.errstate(invalid="ignore"):
            difference = np.where(is_finite, np.abs(a - b), np.inf)
        self._differences.append(difference.max(axis=1, initial=0))
        self._magnitudes.append(np.where(is_finite, np.abs(a), 0).max(axis=1, initial=0))

    def report(self) -> OutputReport:
        """The result over all that was added."""
        differences = np.concatenate(self._differences)
        magnitudes = np.concatenate(self._magnitudes)
        scale = np.maximum(magnitudes, np.median(magnitudes))
        allowed = 0.0 if self._is_exact else self._tolerance * scale
        same = self._is_same_top1
        return OutputReport(
            name=self._name,
            shape=self._shape,
            max_abs_difference=float(differences.max()),
            equal=float(np.mean(differences <= allowed)),
            agreement=float(np.mean(np.concatenate(same))) if same else None,
            not_finite=self._not_finite,
        )


def _same_top1(ours: np.ndarray, theirs: np.ndarray) -> np.ndarray:
    """Where the largest of the last axis is the same, and nothing in it NaN or infinite."""
    is_finite = np.isfinite(ours).all(axis=-1) & np.isfinite(theirs).all(axis=-1)
    return (ours.argmax(axis=-1) == theirs.argmax(axis=-1)) & is_finite


class Kept:
    """The outputs themselves, as long as they are not too many.

    # Arguments
        names: The outputs' names.
    """

    def __init__(self, names: list[str]) -> None:
        self._names = names
        self._parts: list[list[np.ndarray]] | None = [[] for _ in names]
        self._bytes = 0

    def add(self, outputs: list[np.ndarray]) -> None:
        """Takes the outputs of some images."""
        self._bytes += sum(output.nbytes for output in outputs)
        if 2 * self._bytes > _KEPT_BYTES:
            self._parts = None
        for parts, output in zip(self._parts or [], outputs, strict=False):
            parts.append(output)

    def value(self) -> Any:
        """An array, or a dict of them by name; `None` if they were too many."""
        if self._parts is None:
            return None
        arrays = [np.concatenate(parts) for parts in self._parts]
        return arrays[0] if len(arrays) == 1 else dict(zip(self._names, arrays, strict=True))


def share_right(outputs: Any, labels: np.ndarray) -> float | None:
    """Share of images whose largest output is that of their class.

    # Arguments
        outputs: Of a `Report`.
        labels: The class of each image.

    # Returns
        `None` where outputs are not a single row of classes for each image, or were not kept.
    """
    if not isinstance(outputs, np.ndarray) or outputs.ndim < 2 or outputs.shape[-1] < 2:
        return None
    # An array of another shape would be compared with all labels at once.
    if outputs.shape[:-1] != (len(labels),) + (1,) * (outputs.ndim - 2):
        return None
    return float(np.mean(outputs.reshape(len(labels), -1).argmax(axis=-1) == labels))
