"""Pictures of codes, latent weights and activations, as matplotlib `Figure`s.

Without pyplot, whose windows and settings are the user's: save them with `figure.savefig`, and
notebooks show them as they are.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib
import numpy as np
from matplotlib import ticker
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine

from siman_larq.analysis import statistics
from siman_larq.analysis.activations import MARGIN_EDGES, LayerActivations
from siman_larq.analysis.codes import LayerCode, mean
from siman_larq.analysis.fits import MOST_BETA

__all__ = [
    "epoch_axis",
    "new_figure",
    "plot_angles",
    "plot_epochs",
    "plot_margins",
    "plot_weights",
    "short",
]

_BLUE, _ORANGE, _GREEN, _RED = "#4472a8", "#d97b29", "#2a7f3f", "#b3261e"
_FITS = {
    "laplace": ("Laplace", _RED),
    "norm": ("Gauss", _GREEN),
    "gennorm": ("generalised normal", "black"),
}
# Deviations of a filter, to either side.
_REACH = 4.0


def plot_weights(layers: Sequence[LayerCode]) -> Figure:
    """Draws the latent weights of every layer, with the three distributions fitted to them.

    Every filter is standardised; the curves are the means of the densities of all filters.

    # Arguments
        layers: From `siman_larq.analysis.codes`.

    # Returns
        A figure with a histogram for each layer.
    """
    figure, axes = _grid(len(layers))
    z = np.linspace(-_REACH, _REACH, 201)
    for axis, layer in zip(axes, layers, strict=False):
        weights = np.asarray(layer.weights, np.float64)
        centre, deviation = weights.mean(axis=0), weights.std(axis=0)
        varies = deviation > 0
        standard = ((weights - centre) / np.where(varies, deviation, 1))[:, varies]
        inside = np.clip(standard.ravel(), -_REACH, _REACH)
        counts, edges = np.histogram(inside, 81, (-_REACH, _REACH))
        shares = counts / max(inside.size * (edges[1] - edges[0]), 1)
        axis.stairs(shares, edges, fill=True, color=_BLUE, alpha=0.6)
        top = axis.get_ylim()[1]
        points = centre + z[:, np.newaxis] * deviation
        for name, (label, colour) in _FITS.items():
            with np.errstate(invalid="ignore"):
                density = (layer.fits.frozen(name).pdf(points) * deviation)[:, varies]
            line = density.mean(axis=1) if varies.any() else np.full(len(z), np.nan)
            axis.plot(z, line, color=colour, lw=1, label=label)
        axis.set_ylim(0, 1.25 * top)
        axis.set_yticks([])
        axis.spines[["left", "right", "top"]].set_visible(False)
        beta = layer.summary()["beta"]
        # Where the fit ends: flatter than it can tell.
        sign = "≥" if beta >= MOST_BETA else "="
        _title(axis, f"{short(layer.name, 24)}\nβ {sign} {beta:.4g}")
    _legend(figure, axes if layers else [])
    figure.suptitle("Latent weights, in deviations of their filter", fontsize=11)
    return figure


def plot_angles(layers: Sequence[LayerCode]) -> Figure:
    r"""Draws how near the code of the \\(k\\) largest magnitudes is, for all \\(k\\).

    The curve is \\(S_k / \sqrt k\\) over the length of the magnitudes, the cosine of the angle
    between them: its mean over filters, within the 5th and 95th percentile of filters. Two lines
    are the thresholds: the median, and the best fraction, where the curve has its top.

    # Arguments
        layers: From `siman_larq.analysis.codes`.

    # Returns
        A figure with a curve for each layer.
    """
    figure, axes = _grid(len(layers))
    for axis, layer in zip(axes, layers, strict=False):
        curves = statistics.angle_curve(layer.weights)
        curves = curves[:, ~np.isnan(curves).any(axis=0)]
        fractions = np.arange(1, len(curves) + 1) / len(curves)
        if curves.size:
            low, high = np.percentile(curves, (5, 95), axis=1)
            axis.fill_between(fractions, low, high, color=_BLUE, alpha=0.25, lw=0)
            axis.plot(fractions, curves.mean(axis=1), color=_BLUE, lw=1.2, label="cosine of angle")
        figures = layer.summary()
        half = mean(statistics.share_of_ones(statistics.median_code(layer.weights)))
        axis.axvline(half, color="black", lw=1, ls=":", label="median threshold")
        axis.axvline(figures["best_fraction"], color=_ORANGE, lw=1, label="angle-optimal threshold")
        axis.set_ylim(0.4, 1)
        axis.set_xlim(0, 1)
        angles = f"{figures['angle_median']:.2f}°, best {figures['angle_optimal']:.2f}°"
        _title(axis, f"{short(layer.name, 24)}\n{angles}")
    _legend(figure, axes if layers else [])
    figure.suptitle("Cosine between magnitudes and code, by the share of ones", fontsize=11)
    return figure


def plot_epochs(rows: Sequence[Mapping[str, Any]]) -> Figure:
    """Draws what became of the codes from epoch to epoch.

    # Arguments
        rows: The figures of `CodeLog`, such as the rows of history.csv; numbers or text, and what
            is missing or empty is left out.

    # Returns
        A figure of entropy, beta, angle and flips.
    """
    epochs = [int(row["epoch"]) + 1 for row in rows]
    figure = new_figure((9, 5.5))
    entropy, beta, angle, flips = figure.subplots(2, 2).flat

    def draw(axis: Axes, name: str, label: str, colour: str) -> None:
        values = [float(row.get(name) or "nan") for row in rows]
        marker = "o" if len(rows) < 16 else ""
        axis.plot(epochs, values, color=colour, marker=marker, ms=3.5, label=label)

    draw(entropy, "entropy", "code", _BLUE)
    draw(entropy, "sign_entropy", "sign of the latent weights", _ORANGE)
    entropy.set(ylabel="entropy (bit)")
    draw(beta, "beta", "latent weights", _BLUE)
    for value, name, colour in ((1, "Laplace", _RED), (2, "Gauss", _GREEN)):
        beta.axhline(value, color=colour, lw=0.8, ls=":", label=name)
    beta.set(ylabel="β", yscale="log")
    beta.yaxis.set_major_locator(ticker.LogLocator(base=2))
    beta.yaxis.set_major_formatter(ticker.ScalarFormatter())
    beta.yaxis.set_minor_locator(ticker.NullLocator())
    draw(angle, "angle", "magnitudes to the code in use", _BLUE)
    angle.set(ylabel="angle (degrees)")
    draw(flips, "flips", "flips of a weight in an epoch", _BLUE)
    draw(flips, "never_flipped", "share never flipped", _ORANGE)
    flips.set(ylabel="flips", ylim=(0, None))
    for axis in (entropy, beta, angle, flips):
        epoch_axis(axis, epochs)
    return figure


def plot_margins(layers: Sequence[LayerActivations]) -> Figure:
    """Draws how far the inputs of binary layers are from where their sign turns.

    # Arguments
        layers: From `siman_larq.analysis.activations`; those without margins are left out.

    # Returns
        A figure with a line for each layer, and one where rounding begins to matter.
    """
    figure = new_figure((9, 4))
    axis = figure.subplots()
    drawn = [layer for layer in layers if layer.margins is not None]
    colours = matplotlib.colormaps["viridis"](np.linspace(0, 0.9, max(len(drawn), 1)))
    for layer, colour in zip(drawn, colours, strict=False):
        counts = np.asarray(layer.margins)
        shares = counts / max(counts.sum(), 1)
        axis.stairs(shares, MARGIN_EDGES, color=colour, lw=1, label=short(layer.name, 24))
    axis.axvline(2.0**-23, color=_RED, lw=1, ls="--", label="one rounding of float32")
    axis.set(xscale="log", yscale="log", xlim=(MARGIN_EDGES[0], 10))
    axis.set(xlabel="distance from the threshold, in deviations of the sample")
    axis.set(ylabel="share of inputs, per tenth of a decade")
    axis.grid(alpha=0.3)
    legend = axis.legend(fontsize=7, ncols=1 + len(drawn) // 12, loc="upper left")
    for text in legend.get_texts():
        text.set_parse_math(False)
    return figure


def new_figure(size: tuple[float, float]) -> Figure:
    """A figure of so many inches, without pyplot."""
    return Figure(figsize=size, layout=ConstrainedLayoutEngine(w_pad=0.08, h_pad=0.08))


def epoch_axis(axis: Axes, epochs: Sequence[int]) -> None:
    """Whole epochs from the first to the last, and what every axis over epochs has."""
    axis.set(xlabel="epoch")
    axis.set_xlim(0.5, (epochs[-1] if epochs else 1) + 0.5)
    axis.xaxis.set_major_locator(ticker.MaxNLocator(integer=True, min_n_ticks=1))
    axis.legend(fontsize=8)
    axis.grid(alpha=0.3)


def short(text: str, longest: int) -> str:
    """Leaves out the middle, since names often differ at their ends."""
    if len(text) <= longest:
        return text
    half = (longest - 1) // 2
    return f"{text[:half]}…{text[-(longest - 1 - half) :]}"


def _grid(count: int) -> tuple[Figure, Sequence[Axes]]:
    """Axes for so many layers, and more that are off."""
    columns = min(6, max(count, 1))
    rows = max(-(-count // columns), 1)
    figure = new_figure((max(2.1 * columns, 4.8), 1.9 * rows + 0.9))
    axes = figure.subplots(rows, columns, squeeze=False).flat
    for axis in axes[count:]:
        axis.axis("off")
    return figure, list(axes)


def _title(axis: Axes, text: str) -> None:
    axis.set_title(text, fontsize=8, parse_math=False)
    axis.tick_params(labelsize=7)


def _legend(figure: Figure, axes: Sequence[Axes]) -> None:
    if len(axes):
        handles, labels = axes[0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=4, fontsize=8)
