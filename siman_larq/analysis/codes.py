"""The binary kernels of a model: what their latent weights and their codes are."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import tensorflow as tf

from siman_larq._scopes import quantized
from siman_larq.analysis import fits, statistics
from siman_larq.bits.codes import read_dtype
from siman_larq.conversion.patches import Patch, patched, quantized_variables
from siman_larq.filters import Axes, axes_by_name, filter_axes, tell_axes, to_columns

__all__ = ["Kernel", "LayerCode", "binary_kernels", "codes", "mean", "unique", "unmeasured"]


@dataclass(frozen=True, eq=False)
class LayerCode:
    """The latent weights of a binary kernel and their code; figures are arrays `(filters,)`.

    # Attributes
        name: The name of the layer; with that of the kernel where a layer has several.
        weights: Latent weights, float32 of shape `(n, filters)`, a column for every filter.
        code: The code in use, booleans of the same shape, `True` for the upper level.
        levels: The lower and the upper level, the means over filters where these have scales.
    """

    name: str
    weights: np.ndarray
    code: np.ndarray
    levels: tuple[float, float]

    @cached_property
    def share_of_ones(self) -> np.ndarray:
        """Of the code."""
        return statistics.share_of_ones(self.code)

    @cached_property
    def entropy(self) -> np.ndarray:
        """Of the code, in bits."""
        return statistics.entropy(self.share_of_ones)

    @cached_property
    def sign_entropy(self) -> np.ndarray:
        """Of the sign of the latent weights, in bits: not of the code, unless that is the sign."""
        return statistics.entropy(statistics.share_of_ones(statistics.signs(self.weights)))

    @cached_property
    def fits(self) -> fits.Fits:
        """Laplace, Gauss and the generalised normal distribution, fitted to the latent weights."""
        return fits.fit(self.weights)

    @cached_property
    def excess_kurtosis(self) -> np.ndarray:
        """Of the latent weights."""
        return fits.excess_kurtosis(self.weights)

    @cached_property
    def angle(self) -> np.ndarray:
        """From the magnitudes to the code in use, in degrees."""
        return statistics.angle_to_code(self.weights, self.code)

    @cached_property
    def angle_median(self) -> np.ndarray:
        """From the magnitudes to the median code, in degrees."""
        return statistics.angle_to_code(self.weights, statistics.median_code(self.weights))

    @cached_property
    def angle_optimal(self) -> np.ndarray:
        """From the magnitudes to the angle-optimal code, in degrees: the smallest there is."""
        return statistics.angle_to_code(self.weights, self._optimal)

    @cached_property
    def angle_sign(self) -> np.ndarray:
        """From the latent weights to their signs, in degrees."""
        return statistics.angle_to_sign(self.weights)

    @cached_property
    def best_fraction(self) -> np.ndarray:
        """The share of ones in the angle-optimal code."""
        return statistics.share_of_ones(self._optimal)

    @cached_property
    def _optimal(self) -> np.ndarray:
        return statistics.optimal_code(self.weights)

    @cached_property
    def sign_correlation(self) -> np.ndarray:
        """Of the code with the sign of the latent weights."""
        return statistics.sign_correlation(self.weights, self.code)

    def summary(self) -> dict[str, float]:
        """One number for each figure: its mean over filters, of `beta` the median.

        `laplace_gap` is the log-likelihood of Laplace less that of Gauss, in nats a weight;
        `sign_correlation` is the mean of magnitudes, since its sign differs between filters.
        Filters without a figure, such as those of equal weights, do not count.
        """
        figures = {
            "share_of_ones": self.share_of_ones,
            "entropy": self.entropy,
            "sign_entropy": self.sign_entropy,
            "laplace_gap": self.fits.gap,
            "excess_kurtosis": self.excess_kurtosis,
            "angle": self.angle,
            "angle_median": self.angle_median,
            "angle_optimal": self.angle_optimal,
            "angle_sign": self.angle_sign,
            "best_fraction": self.best_fraction,
            "sign_correlation": np.abs(self.sign_correlation),
        }
        beta = self.fits.beta[~np.isnan(self.fits.beta)]
        middle = float(np.median(beta)) if len(beta) else float("nan")
        return {name: mean(values) for name, values in figures.items()} | {"beta": middle}


def codes(model: tf.keras.Model) -> list[LayerCode]:
    """The codes of all binary kernels of a model, as they are now.

    !!! example
        ```python
        for layer in siman_larq.analysis.codes(model):
            print(layer.name, layer.entropy.mean(), layer.angle.mean())
        ```

    # Arguments
        model: A Keras model that is built, also with models within it, shared and wrapped layers,
            or layers of one's own.

    # Returns
        One for each kernel, once where a layer is used several times. Kernels whose quantizer
        gives a filter more than two values, or that are not laid out by filters, are left out,
        with a warning.

    # Raises
        TypeError: if `model` is not a Keras model.
        ValueError: for a model that is not built, and for NaN or infinite weights.
    """
    found = []
    for kernel in binary_kernels(model):
        latent, values = kernel.latent(), kernel.quantized()
        ones = values > 0
        lower, upper = (float(np.mean(part(values, axis=0))) for part in (np.min, np.max))
        found.append(LayerCode(kernel.name, latent, ones, (lower, upper)))
    return found


@dataclass(frozen=True, eq=False)
class Kernel:
    """A variable with a binary code.

    # Attributes
        name: As in `LayerCode`.
        variable: Larq's variable.
        axes: The axes that tell its filters apart.
        dtype: The type in which its layer hands it to the quantizer: mixed precision rounds.
    """

    name: str
    variable: Any
    axes: Axes
    dtype: tf.DType

    def latent(self) -> np.ndarray:
        """Latent weights, shape `(n, filters)`."""
        return to_columns(tf.cast(self._stored(), tf.float32), self.axes).numpy()

    def quantized(self) -> np.ndarray:
        """What the layer computes with, shape `(n, filters)`."""
        return to_columns(self.values(), self.axes).numpy()

    def values(self) -> tf.Tensor:
        """What the layer computes with, in the kernel's shape; also in a graph."""
        quantizer = self.variable.quantizer
        with unmeasured([quantizer]):
            return tf.cast(quantizer(tf.cast(self._stored(), self.dtype)), tf.float32)

    def _stored(self) -> tf.Tensor:
        with quantized(False):
            return tf.convert_to_tensor(self.variable)


def binary_kernels(model: tf.keras.Model) -> list[Kernel]:
    """The kernels of a model that their quantizers give two levels, one of them positive."""
    if not isinstance(model, tf.keras.Model):
        raise TypeError(f"analysis: model={model!r} is no tf.keras.Model.")
    if not model.built:
        raise ValueError(
            f"Model {model.name!r} is not built, so it has no weights; call it once on an image, "
            "model(images[:1]), or give it a tf.keras.Input."
        )
    owners: dict[int, tuple[Any, str]] = {}
    for layer in model.submodules:
        if isinstance(layer, tf.keras.layers.Layer):
            tell_axes(layer)
            owners |= {id(value): (layer, name) for name, value in vars(layer).items()}
    kernels: list[Kernel] = []
    left_out = []
    for variable in quantized_variables(model):
        layer, attribute = owners.get(id(variable), (None, ""))
        name, axes = _name_and_axes(variable, layer, attribute)
        if axes is None:
            left_out.append(name)
            continue
        dtype = read_dtype(layer, variable) if layer else variable.dtype
        kernel = Kernel(name, variable, axes, dtype)
        _check_finite(model, kernel)
        if _is_two_valued(kernel.quantized()):
            kernels.append(kernel)
        else:
            left_out.append(name)
    if left_out:
        warnings.warn(
            f"Model {model.name!r}: left out {', '.join(left_out)}, whose quantizer gives a filter "
            "more than two values, or none above 0, and so no code of ones and zeros, or whose "
            "kernel is not laid out by filters.",
            stacklevel=3,
        )
    names = unique([kernel.name for kernel in kernels])
    return [replace(kernel, name=name) for kernel, name in zip(kernels, names, strict=True)]


def unique(names: list[str]) -> list[str]:
    """Names that tell layers of different models within one apart: the second `a` is `a (2)`."""
    counts = [names[: index + 1].count(name) for index, name in enumerate(names)]
    return [f"{name} ({n})" if n > 1 else name for name, n in zip(names, counts, strict=True)]


@contextmanager
def unmeasured(quantizers: list[Any]) -> Iterator[None]:
    """Calls of quantizers that their own `flip_ratio` does not count."""
    patches: list[Patch] = []
    for quantizer in quantizers:
        if hasattr(quantizer, "flip_ratio"):
            patches.append((quantizer, "flip_ratio", lambda values: None))
            patches.append((quantizer, "add_metric", lambda value: None))
    with patched(patches):
        yield


def mean(values: Any) -> float:
    """The mean of the numbers that are there; NaN if there is none."""
    values = np.asarray(values, np.float64)
    there = values[~np.isnan(values)]
    return float(there.mean()) if there.size else float("nan")


def _name_and_axes(variable: Any, layer: Any, attribute: str) -> tuple[str, Axes | None]:
    """`None` for the axes of a kernel that is not laid out by filters."""
    own = getattr(variable.quantizer, "filter_axes", None)
    if layer is None:
        # In a list of a layer of one's own.
        return variable.name.split(":")[0], own or axes_by_name(variable)
    several = sum(getattr(value, "quantizer", None) is not None for value in vars(layer).values())
    name = layer.name if several == 1 else f"{layer.name}/{attribute}"
    try:
        return name, own or filter_axes(layer, attribute.removesuffix("_kernel"))
    except ValueError:
        return name, None


def _check_finite(model: tf.keras.Model, kernel: Kernel) -> None:
    weights = kernel.latent()
    if bad := int(np.count_nonzero(~np.isfinite(weights))):
        raise ValueError(
            f"Model {model.name!r}: {bad} of the {weights.size} weights of {kernel.name} are NaN "
            "or infinite, so they have no code; look for a diverged training or a damaged file."
        )


def _is_two_valued(columns: np.ndarray) -> bool:
    is_one = columns > 0
    lower, upper = columns.min(axis=0), columns.max(axis=0)
    return bool(np.all(columns == np.where(is_one, upper, lower)))
