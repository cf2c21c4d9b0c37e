"""The pictures of a study's report."""

import io
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import matplotlib
import numpy as np
from matplotlib import ticker
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from PIL import Image

from siman_larq.files import write_atomically
from siman_larq.studies.arms import ArmFigures
from siman_larq.studies.statistics import Peak

__all__ = ["draw_codes", "draw_curves", "draw_flips", "draw_peak"]

_MARKERS = "osD^vP*X<>h"
_PALETTE = 256
_CODES = {
    "entropy": "entropy of the code (bit)",
    "beta": "beta of the latent weights",
    "angle": "angle between |w| and code (degrees)",
    "flips": "flips per weight in an epoch",
}
Arms = Mapping[str, ArmFigures]


def draw_curves(arms: Arms, path: Path) -> None:
    """Draws test accuracy over epochs: the mean of each arm, and the range of its seeds."""
    figure, axis = _figure()
    _over_epochs(axis, arms, "val_accuracy", 100, has_range=True)
    axis.set(xlabel="epoch", ylabel="accuracy on the test images (%)")
    _legend(figure, axis)
    _save(figure, path)


def draw_codes(arms: Arms, path: Path) -> bool:
    """Draws what is known of the codes over epochs; returns whether anything is."""
    known = [name for name in _CODES if any(arm.last(name) for arm in arms.values())]
    if not known:
        return False
    figure = Figure(figsize=(8.5, 2.9 * -(-len(known) // 2)), layout="constrained")
    axes = list(figure.subplots(-(-len(known) // 2), 2, squeeze=False).flat)
    for axis in axes:
        axis.set_visible(False)
    for axis, name in zip(axes, known, strict=False):
        axis.set_visible(True)
        _over_epochs(axis, arms, name, 1)
        axis.set(xlabel="epoch", ylabel=_CODES[name])
    _legend(figure, axes[0])
    _save(figure, path)
    return True


def draw_flips(arms: Arms, path: Path) -> bool:
    """Draws accuracy against flips per weight, a point for each run; whether any are known."""
    known = {
        name: [(arm.flips[s], 100 * arm.final[s]) for s in arm.flips if not np.isnan(arm.flips[s])]
        for name, arm in arms.items()
    }
    if not any(known.values()):
        return False
    figure, axis = _figure()
    for (name, points), colour, marker in zip(
        known.items(), _colours(len(known)), _markers(len(known)), strict=True
    ):
        x, y = np.array(points).reshape(-1, 2).T
        axis.plot(x, y, marker, color=colour, label=name, ms=5, alpha=0.85)
    axis.set(xlabel="flips per weight in the whole training", ylabel="final test accuracy (%)")
    axis.grid(alpha=0.3)
    _legend(figure, axis)
    _save(figure, path)
    return True


def draw_peak(
    places: Sequence[float], arms: Arms, fit: Peak, setting: str, value: float, path: Path
) -> None:
    """Draws the final accuracies by a setting, with the quadratic and the interval of its peak."""
    figure, axis = _figure((6.0, 3.8))
    for place, arm in zip(places, arms.values(), strict=True):
        axis.plot([place] * len(arm.final), [100 * y for y in arm.final.values()], "o", c="#9db4cf")
        if arm.mean:
            axis.plot(place, 100 * arm.mean.mean, "_", c="black", ms=12)
    x = np.linspace(min(places), max(places), 100)
    axis.plot(x, 100 * np.polynomial.polynomial.polyval(x, fit.coefficients), c="#4472a8")
    if np.isfinite(fit.low):
        axis.axvspan(fit.low, fit.high, color="#4472a8", alpha=0.15, lw=0)
    axis.axvline(value, c="black", lw=0.8, ls=":")
    axis.set(xlabel=setting, ylabel="final test accuracy (%)")
    axis.grid(alpha=0.3)
    _save(figure, path)


def _over_epochs(
    axis: Axes, arms: Arms, figure: str, scale: float, has_range: bool = False
) -> None:
    for (name, arm), colour in zip(arms.items(), _colours(len(arms)), strict=True):
        runs = [[getattr(row, figure) for row in rows] for rows in arm.rows.values()]
        if not runs:
            continue
        y = scale * np.array(runs)
        epochs = np.arange(1, y.shape[1] + 1)
        marker = "o" if len(epochs) < 16 else ""
        axis.plot(epochs, y.mean(axis=0), color=colour, label=name, marker=marker, ms=3)
        if has_range:
            axis.fill_between(epochs, y.min(axis=0), y.max(axis=0), color=colour, alpha=0.12, lw=0)
    axis.xaxis.set_major_locator(ticker.MaxNLocator(integer=True))
    axis.grid(alpha=0.3)


def _colours(count: int) -> Iterable[tuple[float, ...]]:
    palette = matplotlib.colormaps["tab10" if count <= 10 else "viridis"]
    return [palette(n if count <= 10 else n / (count - 1)) for n in range(count)]


def _markers(count: int) -> str:
    return (_MARKERS * count)[:count]


def _figure(size: tuple[float, float] = (7.5, 3.8)) -> tuple[Figure, Axes]:
    # Without pyplot, whose choice of a window is the user's.
    figure = Figure(figsize=size, layout="constrained")
    return figure, figure.subplots()


def _legend(figure: Figure, axis: Axes) -> None:
    handles, labels = axis.get_legend_handles_labels()
    if labels:
        figure.legend(handles, labels, loc="outside right upper", fontsize=8)


def _save(figure: Figure, path: Path) -> None:
    drawn, content = io.BytesIO(), io.BytesIO()
    figure.savefig(drawn, format="png", dpi=100)
    # Results are committed: a palette makes them a third as large.
    Image.open(drawn).convert("RGB").quantize(_PALETTE).save(content, format="png", optimize=True)
    write_atomically(path, content.getvalue())
