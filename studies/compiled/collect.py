"""Brings back what `compute.py` has computed.

    python studies/compiled/collect.py rows.jsonl
    python studies/compiled/collect.py rows.jsonl --recipe recipe.json --weights w.npz --run FOLDER

The rows of studies go where `studies/run.py --report` finds them; a single run whose weights were
kept becomes an ordinary run folder, which `tools/publish.py` takes.
"""

import collections
import csv
import json
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
    found: dict[str, list[dict[str, Any]]] = collections.defaultdict(list)
    for file in files:
        for line in file.read_text().splitlines():
            row = json.loads(line)
            found[row["study"]].append(row)
    with one_sentence(ValueError, OSError):
        if run is not None:
            make_run(Recipe.load(given["recipe"]), given["weights"], found["run"], run)
            return
        for name, rows in found.items():
            click.echo(bring_back(studies, name, ended(rows)))


def bring_back(studies: Path, name: str, rows: list[dict[str, Any]]) -> str:
    """Puts rows into the epochs.csv of a study, if they were made with its settings."""
    study = read(studies / f"{name}.toml")
    path = study.results / "epochs.csv"
    kept, whole = read_rows(path), [_row(row) for row in rows]
    together = merged(kept, whole)
    runs = study.runs(together)
    check_settings(study, runs, kept)
    check_found(study, runs, {_run(row): row["settings"] for row in rows})
    write_rows(path, together)
    keep_settings(study, runs, together)
    return f"{path}: {len({row.run for row in whole})} runs"


def ended(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The rows of runs that ended, or diverged."""
    runs: dict[Key, list[dict[str, Any]]] = collections.defaultdict(list)
    for row in rows:
        runs[_run(row)].append(row)
    return [
        row
        for own in runs.values()
        if len(own) == own[0]["epochs"] or not np.isfinite(own[-1]["loss"])
        for row in own
    ]


def _run(values: dict[str, Any]) -> Key:
    return values["phase"], values["arm"], values["seed"], values["setting"]


def _row(values: dict[str, Any]) -> Row:
    known = {name: value for name, value in values.items() if name in Row._fields}
    return Row(**{name: value for name, value in known.items() if value is not None})


def make_run(recipe: Recipe, weights: Path, rows: list[dict[str, Any]], folder: Path) -> None:
    """A run folder with recipe.json, history.csv and model.keras."""
    own = [row for row in rows if (row["arm"], row["seed"]) == (recipe.model, recipe.seed)]
    own = sorted(ended(own), key=lambda row: row["epoch"])
    if len(own) != recipe.epochs:
        raise click.ClickException(f"The run has {len(own)} of {recipe.epochs} epochs.")
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
