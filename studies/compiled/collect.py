"""Brings back what `compute.py` has computed.

    python studies/compiled/collect.py rows.jsonl
    python studies/compiled/collect.py rows.jsonl --recipe recipe.json --weights w.npz --run FOLDER

The rows of studies go where `studies/run.py --report` finds them; a single run whose weights were
kept becomes an ordinary run folder, which `tools/publish.py` takes.
"""

import collections
import csv
import json
import math
import os
import sys
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import click
import numpy as np

from siman_larq.cli.start import one_sentence
from siman_larq.studies.reading import read
from siman_larq.studies.rows import Key, Row, merged, read_rows, write_rows
from siman_larq.studies.settings import (
    check_found,
    check_settings,
    differing,
    keep_settings,
    settings_of,
)
from siman_larq.training.network import build_model
from siman_larq.training.recipe import Recipe
from siman_larq.training.run import load_images

_FILE = click.Path(path_type=Path, exists=True)
_STUDIES = Path(__file__).resolve().parents[1]
# As Keras' callbacks name them.
_NAMES = {"learning_rate": "lr"}
_NOT_FIGURES = ("study", "phase", "arm", "seed", "setting", "settings", "machine", "epochs")


@click.command()
@click.argument("files", type=_FILE, nargs=-1, required=True)
@click.option("--studies", type=_FILE, default=_STUDIES, help="The folder of studies.")
@click.option("--recipe", type=_FILE, help="Of the single run.")
@click.option("--weights", type=_FILE, help="Those that were kept of it.")
@click.option("--run", type=click.Path(path_type=Path), help="The new run folder.")
def main(files: tuple[Path, ...], studies: Path, run: Path | None, **given: Path) -> None:
    """Brings the rows of FILES back, and loses none that were there."""
    if run is not None and (lacking := [name for name, path in given.items() if path is None]):
        raise click.UsageError(f"--run needs --{lacking[0]} too.")
    with one_sentence(ValueError, OSError):
        found: dict[str, list[dict[str, Any]]] = collections.defaultdict(list)
        for row in (row for file in files for row in lines_of(file)):
            found[row["study"]].append(row)
        if run is not None:
            make_run(Recipe.load(given["recipe"]), given["weights"], found["run"], run)
            return
        for name, rows in found.items():
            click.echo(bring_back(studies, name, rows))


def lines_of(file: Path) -> list[dict[str, Any]]:
    """The rows of a file, of which the last one may be cut off."""
    rows, lines = [], file.read_text().splitlines()
    for number, line in enumerate(lines, 1):
        try:
            rows.append(json.loads(line))
        except ValueError as error:
            if number < len(lines):
                raise ValueError(
                    f"{file}, line {number} is no row of compute.py ({error}); take that line out."
                ) from error
            click.echo(f"{file}, line {number}: left out, because it was cut off.")
    return rows


def bring_back(studies: Path, name: str, rows: list[dict[str, Any]]) -> str:
    """Puts rows into the epochs.csv of a study, if they were made with its settings."""
    study, given = read(studies / f"{name}.toml"), {_run(row) for row in rows}
    rows = ended(rows)
    path = study.results / "epochs.csv"
    kept, whole = read_rows(path), [_row(row) for row in rows]
    together = merged(kept, whole)
    runs = study.runs(together)
    check_settings(study, runs, kept)
    check_found(study, runs, {_run(row): row["settings"] for row in rows})
    write_rows(path, together)
    keep_settings(study, runs, together)
    brought = {row.run for row in whole}
    cut_off = f", {len(given - brought)} left out that were cut off" if given - brought else ""
    return f"{path}: {len(brought)} runs{cut_off}"


def ended(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Of each run the rows of its first attempt that ended, or diverged."""
    attempts: dict[Key, list[list[dict[str, Any]]]] = collections.defaultdict(list)
    for row in rows:
        own = attempts[_run(row)]
        # A run that was cut off begins anew, and adds to the same file.
        if row["epoch"] == 0 or not own:
            own.append([])
        own[-1].append(row)
    return [row for own in attempts.values() for row in next(filter(_is_whole, own), [])]


def _is_whole(attempt: list[dict[str, Any]]) -> bool:
    last = attempt[-1]
    is_last = last["epoch"] + 1 == last["epochs"] or not math.isfinite(last["loss"])
    return is_last and [row["epoch"] for row in attempt] == [*range(len(attempt))]


def _run(values: dict[str, Any]) -> Key:
    return values["phase"], values["arm"], values["seed"], values["setting"]


def _row(values: dict[str, Any]) -> Row:
    known = {name: value for name, value in values.items() if name in Row._fields}
    return Row(**{name: value for name, value in known.items() if value is not None})


def make_run(recipe: Recipe, weights: Path, rows: list[dict[str, Any]], folder: Path) -> None:
    """A run folder with recipe.json, history.csv and model.keras."""
    own = [row for row in rows if (row["arm"], row["seed"]) == (recipe.model, recipe.seed)]
    own = ended(own)
    if own and not math.isfinite(own[-1]["loss"]):
        raise click.ClickException("The run diverged, and its weights are worth nothing.")
    if len(own) != recipe.epochs:
        raise click.ClickException(f"No run in the rows has all {recipe.epochs} epochs.")
    if other := differing(own[0]["settings"], settings_of(recipe)):
        raise click.ClickException(
            f"The run was made with other settings than its recipe ({other})."
        )
    kept = np.load(weights)
    model = build_model(recipe, load_images(recipe).num_classes)
    model.set_weights([kept[name] for name in kept.files])
    folder.mkdir(parents=True)
    recipe.save(folder / "recipe.json")
    names = [name for name in own[-1] if name not in _NOT_FIGURES]
    with open(folder / "history.csv", "w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(_NAMES.get(name, name) for name in names)
        writer.writerows([row.get(name) for name in names] for row in own)
    model.save(folder / "model.keras")


if __name__ == "__main__":
    main()
