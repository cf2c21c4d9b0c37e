"""settings.json: with which settings the runs in epochs.csv were made."""

import json
from collections.abc import Iterable
from dataclasses import fields
from pathlib import Path
from typing import Any

from siman_larq.files import write_atomically
from siman_larq.studies.plan import PlannedRun, Study
from siman_larq.studies.rows import Rows
from siman_larq.training.folder import differences
from siman_larq.training.recipe import Recipe

__all__ = ["check_settings", "keep_settings"]

_FILE = "settings.json"
_FREE = ("seed", "data_dir")  # of a run and of a machine
_DEFAULTS = {field.name: field.default for field in fields(Recipe)}


def check_settings(study: Study, runs: Iterable[PlannedRun], rows: Rows) -> None:
    """Refuses rows of epochs.csv that were made with other settings than the study has now.

    # Arguments
        study: A study.
        runs: Those that are known.
        rows: Rows of epochs.csv; of those that settings.json does not know nothing is told.

    # Raises
        ValueError: naming arm and settings.
    """
    kept = _read(study.results / _FILE)
    for run in _made(runs, rows):
        now = _settings(run.recipe)
        then = kept.get(_name(run), now)
        if other := differences(_DEFAULTS | then, _DEFAULTS | now):
            raise ValueError(
                f"{study.results / 'epochs.csv'} has runs of arm {run.arm} ({run.phase}) that were "
                f"made with other settings than {study.path} has now ({other}): put those back, or "
                "give the study with the new ones a file name of its own."
            )


def keep_settings(study: Study, runs: Iterable[PlannedRun], rows: Rows) -> None:
    """Writes with which settings the runs were made of which there are rows."""
    kept = _read(study.results / _FILE)
    kept |= {_name(run): _settings(run.recipe) for run in _made(runs, rows)}
    write_atomically(study.results / _FILE, json.dumps(kept, indent=1, sort_keys=True) + "\n")


def _made(runs: Iterable[PlannedRun], rows: Rows) -> list[PlannedRun]:
    made = {row.run for row in rows}
    return [run for run in runs if run[:4] in made]


def _name(run: PlannedRun) -> str:
    return " ".join(part for part in (run.phase, run.arm, run.setting) if part)


def _settings(recipe: Recipe) -> dict[str, Any]:
    """What is not the default, so that a setting that recipes get later changes nothing."""
    given = {
        name: getattr(recipe, name)
        for name, default in _DEFAULTS.items()
        if name not in _FREE and getattr(recipe, name) != default
    }
    return json.loads(json.dumps(given))


def _read(path: Path) -> dict[str, Any]:
    if not path.is_file():
        return {}
    try:
        return {
            str(name): dict(settings) for name, settings in json.loads(path.read_text()).items()
        }
    except (ValueError, TypeError, AttributeError) as error:
        raise ValueError(
            f"{path} is damaged ({error}): take it from where the results came, or delete it if "
            "the study's settings have not changed since."
        ) from error
