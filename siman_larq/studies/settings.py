"""settings.json: with which settings the runs in epochs.csv were made."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

from siman_larq.files import write_atomically
from siman_larq.studies.plan import PlannedRun, Study
from siman_larq.studies.rows import Key, Rows
from siman_larq.training.folder import differences
from siman_larq.training.recipe import Recipe

__all__ = ["check_found", "check_settings", "differing", "keep_settings", "settings_of"]

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
        now = settings_of(run.recipe)
        if other := differing(kept.get(_name(run), now), now):
            raise ValueError(
                f"{study.results / 'epochs.csv'} has runs of arm {run.arm} ({run.phase}) that were "
                f"made with other settings than {study.path} has now ({other}): put those back, or "
                "give the study with the new ones a file name of its own."
            )


def check_found(study: Study, runs: Iterable[PlannedRun], found: Mapping[Key, Any]) -> None:
    """Refuses runs from elsewhere that are not of the study as it is now.

    # Arguments
        study: A study.
        runs: Those that are known.
        found: Of each run from elsewhere its settings, as `settings_of` gives them.

    # Raises
        ValueError: naming arm, seed and settings.
    """
    known = {run[:4]: run for run in runs}
    for key, settings in found.items():
        phase, arm, seed, _ = key
        if key not in known:
            raise ValueError(
                f"{study.path} has no run of arm {arm} ({phase}) with seed {seed}, which comes "
                "back: put the study back as it was when it was exported."
            )
        if other := differing(settings, settings_of(known[key].recipe)):
            raise ValueError(
                f"Arm {arm} ({phase}), seed {seed}, was made with other settings than {study.path} "
                f"has now ({other}): put the study back as it was when it was exported, or export "
                "it again."
            )


def keep_settings(study: Study, runs: Iterable[PlannedRun], rows: Rows) -> None:
    """Writes with which settings the runs were made of which there are rows."""
    kept = _read(study.results / _FILE)
    kept |= {_name(run): settings_of(run.recipe) for run in _made(runs, rows)}
    write_atomically(study.results / _FILE, json.dumps(kept, indent=1, sort_keys=True) + "\n")


def _made(runs: Iterable[PlannedRun], rows: Rows) -> list[PlannedRun]:
    made = {row.run for row in rows}
    return [run for run in runs if run[:4] in made]


def _name(run: PlannedRun) -> str:
    return " ".join(part for part in (run.phase, run.arm, run.setting) if part)


def settings_of(recipe: Recipe) -> dict[str, Any]:
    """What is not the default, so that a setting that recipes get later changes nothing.

    # Arguments
        recipe: A recipe.

    # Returns
        Values by name, as JSON has them, without those of a run (seed) or a machine (data_dir).
    """
    given = {
        name: getattr(recipe, name)
        for name, default in _DEFAULTS.items()
        if name not in _FREE and getattr(recipe, name) != default
    }
    return json.loads(json.dumps(given))


def differing(then: Mapping[str, Any], now: Mapping[str, Any]) -> str:
    """In which settings, both as `settings_of` gives them, two recipes differ; empty if in none."""
    return differences(_DEFAULTS | dict(then), _DEFAULTS | dict(now))


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
