"""Draws docs/code.png: how the code of a filter is made from its weights."""

import os
import sys
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
import tensorflow as tf

from siman_larq import SiMaNQuantizer


def main() -> None:
    """Four panels: weights, magnitudes, their order with the threshold, and the code."""
    weights = np.random.default_rng(0).laplace(scale=0.1, size=(8, 8)).astype(np.float32)
    magnitudes = np.abs(weights - weights.mean())
    # One filter: the last axis of a kernel counts filters.
    code = SiMaNQuantizer()(tf.constant(weights[..., np.newaxis])).numpy()[..., 0]
    order = np.argsort(magnitudes.ravel())
    figure, axes = plt.subplots(1, 4, figsize=(12, 3.1), layout="constrained")
    limit = np.abs(weights).max()
    panels = [
        (weights, "RdBu_r", (-limit, limit), "latent weights w of one filter"),
        (magnitudes, "Greens", (0, limit), "magnitudes |w - mean|"),
        (code, "Greys", (0, 1), "code B: larger half 1, rest 0"),
    ]
    for axis, (values, colours, (low, high), title) in zip(axes[[0, 1, 3]], panels, strict=True):
        axis.imshow(values, cmap=colours, vmin=low, vmax=high)
        axis.set(title=title, xticks=[], yticks=[])
    for (row, column), value in np.ndenumerate(code):
        shade = "white" if value else "black"
        axes[3].text(column, row, int(value), ha="center", va="center", size=7, color=shade)
    colours = np.where(code.ravel()[order] == 1, "black", "lightgrey")
    axes[2].bar(np.arange(order.size), magnitudes.ravel()[order], color=colours, width=1.0)
    axes[2].axvline(order.size / 2 - 0.5, color="tab:red", linestyle="--")
    axes[2].text(order.size / 2 - 2, 0.8 * magnitudes.max(), "median", color="tab:red", ha="right")
    axes[2].set(title="magnitudes in order", xticks=[], yticks=[])
    figure.savefig(Path(__file__).with_name("code.png"), dpi=110)


if __name__ == "__main__":
    main()
