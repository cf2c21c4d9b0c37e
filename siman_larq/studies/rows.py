"""epochs.csv: a row for every epoch of every run of a study, from whichever machine."""

import csv
import io
import math
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from siman_larq.files import write_atomically

__all__ = [
    "Key",
    "Row",
    "Rows",
    "by_run",
    "final_figure",
    "has_diverged",
    "mean_accuracy",
    "merged",
    "read_rows",
    "write_rows",
]

Key = tuple[str, str, int, str]  # phase, arm, seed and setting: a run


class Row(NamedTuple):
    """An epoch of a run; what is not known is NaN, and empty in the file.

    # Attributes
        phase: `"choose"`, `"main"`, `"combine"` or `"final"`.
        arm: Name of the arm; of several that are put together their names with `+` between.
        seed: Seed.
        setting: Value of the chosen hyper-parameter, or empty.
        epoch: From 0.
        learning_rate: Of the epoch.
        loss: Of training; none, or an infinite one, in the last row of a run says that it
            diverged, whatever else that row has.
        accuracy: Of training, between 0 and 1.
        val_loss: On the test images, or on held-out training images: those of the recipe.
        val_accuracy: Likewise, between 0 and 1.
        entropy: Of the code, in bits, mean over filters and layers.
        sign_entropy: Of the signs of the latent weights.
        beta: Shape of the latent weights' generalised normal distribution (1 Laplace, 2 Gauss).
        angle: Between |w| and the code, in degrees.
        flips: How often a binary weight flips in the epoch, mean over weights: all steps summed.
        never_flipped: Share that has not flipped so far.
        seconds: Of the epoch, with its evaluation.
        machine: Where it ran.
    """

    phase: str
    arm: str
    seed: int
    setting: str
    epoch: int
    learning_rate: float = math.nan
    loss: float = math.nan
    accuracy: float = math.nan
    val_loss: float = math.nan
    val_accuracy: float = math.nan
    entropy: float = math.nan
    sign_entropy: float = math.nan
    beta: float = math.nan
    angle: float = math.nan
    flips: float = math.nan
    never_flipped: float = math.nan
    seconds: float = math.nan
    machine: str = ""

    @property
    def run(self) -> Key:
        """Which run it belongs to."""
        return self[:4]

    @classmethod
    def figures(cls) -> tuple[str, ...]:
        """The columns that hold numbers of an epoch."""
        return tuple(name for name, kind in cls.__annotations__.items() if kind is float)


Rows = Sequence[Row]


def by_run(rows: Iterable[Row]) -> dict[Key, list[Row]]:
    """The rows of each run, by epoch."""
    runs: dict[Key, list[Row]] = {}
    for row in rows:
        runs.setdefault(row.run, []).append(row)
    return {run: sorted(own, key=lambda row: row.epoch) for run, own in runs.items()}


def has_diverged(rows: Rows) -> bool:
    """Whether a run ended with a loss that is no finite number."""
    return bool(rows) and not math.isfinite(rows[-1].loss)


def final_figure(rows: Rows, epochs: int, figure: str) -> float | None:
    """A figure of the last epoch of a run; NaN if it is unknown or the run diverged.

    # Arguments
        rows: All rows of the run, by epoch.
        epochs: Number of epochs of its recipe.
        figure: A column.

    # Returns
        The figure, or `None` for a run that has not ended.
    """
    if has_diverged(rows):
        return math.nan
    return getattr(rows[-1], figure) if [row.epoch for row in rows] == [*range(epochs)] else None


def mean_accuracy(runs: Iterable[Rows], epochs: int) -> float | None:
    """The mean accuracy in the last epoch of runs, of which one that diverged counts as 0.

    `None` while one has not ended.
    """
    figures = [final_figure(rows, epochs, "val_accuracy") for rows in runs]
    known = [0.0 if math.isnan(figure) else figure for figure in figures if figure is not None]
    return sum(known) / len(known) if len(known) == len(figures) else None


def merged(kept: Rows, found: Rows) -> list[Row]:
    """Rows that were kept, with those of other runs, and of more epochs of the same, put in.

    A run is never put together from two machines: that of which more epochs are known is taken
    whole, of two as long ones that which is kept.
    """
    runs = by_run(kept)
    for run, rows in by_run(found).items():
        if len(rows) > len(runs.get(run, [])):
            runs[run] = rows
    return [row for run in runs.values() for row in run]


def read_rows(path: Path) -> list[Row]:
    """Reads epochs.csv; no rows if it is not there.

    # Raises
        ValueError: naming file and line, for what is no row of a study.
    """
    if not path.is_file():
        return []
    rows: dict[tuple[Key, int], Row] = {}
    with open(path, newline="") as file:
        reader = csv.DictReader(file)
        if tuple(reader.fieldnames or ()) != Row._fields:
            raise ValueError(f"{path} must have the columns {','.join(Row._fields)}.")
        for values in reader:
            try:
                row = _row(values)
            except (TypeError, ValueError) as error:
                raise ValueError(f"{path}, line {reader.line_num}: {error}.") from error
            if (row.run, row.epoch) in rows:
                raise ValueError(f"{path}, line {reader.line_num}: the epoch is there twice.")
            rows[row.run, row.epoch] = row
    return list(rows.values())


def _row(values: dict[Any, Any]) -> Row:
    if None in values or None in values.values():
        raise ValueError("it has not as many values as there are columns")
    for name, kind in Row.__annotations__.items():
        values[name] = kind(values[name] or "nan") if kind is float else kind(values[name])
    return Row(**values)


def write_rows(path: Path, rows: Rows) -> None:
    """Writes epochs.csv, whole or not at all."""
    file = io.StringIO(newline="")
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(Row._fields)
    for row in rows:
        writer.writerow("" if value != value else _short(value) for value in row)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, file.getvalue())


def _short(value: str | int | float) -> str | int | float:
    # float32 has no more digits.
    return f"{value:.7g}" if isinstance(value, float) else value
