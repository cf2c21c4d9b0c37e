"""The pictures of a report."""

import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib import font_manager, ticker
from matplotlib.figure import Figure

from siman_larq.analysis.figures import epoch_axis, new_figure, short
from siman_larq.files import write_atomically

__all__ = [
    "plot_confusion",
    "plot_curves",
    "plot_most_confused",
    "plot_samples",
    "save",
]

_BLUE, _RIGHT, _WRONG = "#4472a8", "#2a7f3f", "#b3261e"


def plot_curves(history: list[dict[str, str]], path: Path, tested: str = "test") -> None:
    """Draws loss and accuracy of every epoch, from the rows of history.csv."""
    epochs = [int(row["epoch"]) + 1 for row in history]
    figure = new_figure((9, 3.5))
    axes = figure.subplots(1, 2)
    for axis, name in zip(axes, ("loss", "accuracy"), strict=True):
        for key, label in ((name, "training"), (f"val_{name}", tested)):
            values = [float(row.get(key) or "nan") for row in history]
            # A line through one point is invisible.
            axis.plot(epochs, values, marker="o" if len(epochs) < 16 else "", ms=3.5, label=label)
        axis.set(ylabel=name)
        epoch_axis(axis, epochs)
    save(figure, path)


def plot_confusion(matrix: np.ndarray, names: Sequence[str], path: Path) -> None:
    """Draws numbers of images, true classes by predicted ones, coloured by their share."""
    side = 2.4 + 0.48 * len(matrix)
    figure = new_figure((side + 0.6, side))
    axis = figure.subplots()
    shares = matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1)
    axis.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    for (row, column), number in np.ndenumerate(matrix):
        axis.text(
            column,
            row,
            f"{number}" if number else "·",
            ha="center",
            va="center",
            color="white" if shares[row, column] > 0.5 else "black",
            weight="bold" if row == column else "normal",
            fontsize=8,
        )
    labels = [label_of(names, index, 22) for index in range(len(matrix))]
    axis.set_xticks(range(len(matrix)), labels, rotation=45, ha="right", rotation_mode="anchor")
    axis.set_yticks(range(len(matrix)), labels)
    for label in (*axis.get_xticklabels(), *axis.get_yticklabels()):
        label.set(parse_math=False, fontsize=8)
    axis.set(xlabel="predicted", ylabel="true")
    axis.tick_params(length=0)
    save(figure, path)


def plot_most_confused(
    pairs: Sequence[tuple[int, int, int]], names: Sequence[str], path: Path
) -> None:
    """Draws how many images of a class were taken for another; `pairs` begin with the most."""
    pairs = pairs[::-1]
    figure = new_figure((7, 1.0 + 0.27 * max(len(pairs), 1)))
    axis = figure.subplots()
    labels = [f"{label_of(names, a, 28)} → {label_of(names, b, 28)}" for a, b, _ in pairs]
    axis.barh(range(len(pairs)), [images for _, _, images in pairs], color=_BLUE)
    axis.set_yticks(range(len(pairs)), labels)
    for label in axis.get_yticklabels():
        label.set(parse_math=False, fontsize=8)
    axis.xaxis.set_major_locator(ticker.MaxNLocator(integer=True))
    axis.spines[["right", "top"]].set_visible(False)
    title = "true → predicted, most frequent mistakes" if pairs else "no mistakes"
    axis.set(xlabel="images", title=title, xlim=(0, None if pairs else 1))
    save(figure, path)


def plot_samples(
    pictures: np.ndarray,
    labels: np.ndarray,
    predicted: np.ndarray,
    names: Sequence[str],
    path: Path,
) -> None:
    """Draws test images with what the file says of them, wrong answers in red with the truth.

    # Arguments
        pictures: Images in [0, 1].
        labels: Their true classes.
        predicted: The file's answers.
        names: One name per class.
        path: Where the picture goes.
    """
    columns = min(8, len(pictures))
    rows = -(-len(pictures) // columns)
    figure = new_figure((max(1.45 * columns, 3), 1.85 * rows))
    axes = figure.subplots(rows, columns, squeeze=False)
    for axis in axes.flat:
        axis.axis("off")
    for axis, picture, label, answer in zip(axes.flat, pictures, labels, predicted, strict=False):
        axis.imshow(picture.squeeze(), cmap="gray", vmin=0, vmax=1, interpolation="nearest")
        is_right = label == answer
        title = label_of(names, answer, 20)
        title += "\n" if is_right else f"\ntrue: {label_of(names, label, 15)}"
        colour = _RIGHT if is_right else _WRONG
        axis.set_title(title, fontsize=7.5, color=colour, parse_math=False)
    save(figure, path)


def label_of(names: Sequence[str], index: int, longest: int) -> str:
    """The name of a class, as short as asked; its number if the font cannot draw the name."""
    name = " ".join(names[index].split())
    font = font_manager.get_font(font_manager.findfont(font_manager.FontProperties()))
    drawable = font.get_charmap()
    if not name or any(ord(letter) not in drawable for letter in name):
        return f"class {index}"
    return short(name, longest)


def save(figure: Figure, path: Path) -> None:
    """Writes a figure as a PNG, whole or not at all."""
    content = io.BytesIO()
    figure.savefig(content, format="png", dpi=120)
    write_atomically(path, content.getvalue())
