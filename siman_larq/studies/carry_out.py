"""Makes the runs of a study, each an ordinary run folder, and collects what they gave."""

import csv
from collections.abc import Collection, Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import tensorflow as tf

from siman_larq.files import write_atomically
from siman_larq.studies.plan import PHASES, PlannedRun, Study, choose
from siman_larq.studies.rows import Key, Row, Rows, merged, read_rows
from siman_larq.studies.settings import check_settings
from siman_larq.training.folder import (
    HISTORY,
    INPUT,
    RECIPE,
    FolderBusyError,
    check_folder,
    claimed,
    differences,
    epochs_done,
)
from siman_larq.training.images import same_images
from siman_larq.training.machine import machine
from siman_larq.training.progress import say
from siman_larq.training.recipe import Recipe
from siman_larq.training.report import keep_model
from siman_larq.training.run import Run, create, train

__all__ = [
    "Selection",
    "carry_out",
    "collected",
    "folder_of",
    "history_of",
    "planned",
    "rows_of",
]

_DIVERGED = "diverged.txt"
_MACHINE = "machine.txt"


class Selection:
    """Which runs of a study are meant.

    # Arguments
        seeds: Only these seeds, of arms and finals; all if `None`.
        arms: Only these arms; all if empty.
        shard: (i, n): of each phase every n-th run, from the i-th, counted from 1.
        missing: Only runs that epochs.csv does not have.
    """

    def __init__(
        self,
        seeds: Iterable[int] | None = None,
        arms: Iterable[str] = (),
        shard: tuple[int, int] = (1, 1),
        missing: bool = False,
    ) -> None:
        self.seeds = None if seeds is None else set(seeds)
        self.arms, self.shard, self.missing = set(arms), shard, missing

    def check(self, study: Study) -> None:
        """Raises a ValueError for seeds and arms that the study does not have."""
        finals = study.finals.seeds if study.finals else ()
        known = {*study.seeds, *finals}
        if unknown := sorted((self.seeds or set()) - known):
            raise ValueError(
                f"--seeds {unknown[0]} is not among the seeds of {study.path} "
                f"({', '.join(map(str, sorted(known)))}), which were written before the runs."
            )
        names = [arm.name for arm in study.arms]
        if wrong := sorted(self.arms - set(names)):
            raise ValueError(f"--arm {wrong[0]} is no arm of {study.path}; use {', '.join(names)}.")

    def kept(self, study: Study) -> set[Key]:
        """The runs that are left out because epochs.csv has them, as it stands now."""
        rows = read_rows(study.results / "epochs.csv") if self.missing else []
        return {row.run for row in rows}

    def of(
        self, runs: Iterable[PlannedRun], phase: str, kept: Collection[Key] = ()
    ) -> list[PlannedRun]:
        """Those of the runs that are meant, of a phase. Trials of a choice have their own seeds."""
        chosen = [
            run
            for run in runs
            if run.phase == phase
            and (self.seeds is None or phase == "choose" or run.seed in self.seeds)
            and (not self.arms or run.arm in self.arms)
        ]
        index, count = self.shard
        return [run for run in chosen[index - 1 :: count] if run[:4] not in kept]


def folder_of(study: Study, run: PlannedRun, output: Path) -> Path:
    """The run folder of a run."""
    parts = [f"{run.arm}-seed{run.seed}"]
    if run.phase != "main":
        parts.append(run.phase)
    if study.choice and run.setting:
        parts.append(f"{study.choice.setting}{run.setting}")
    return output / study.name / "-".join(parts)


def collected(study: Study, output: Path) -> list[Row]:
    """All rows that are known: those of epochs.csv, and of the runs in the output folder.

    # Arguments
        study: A study.
        output: Folder of the run folders of all studies.

    # Returns
        Rows of runs that have ended.

    # Raises
        ValueError: naming the folder, when a run with another recipe is in it, or the arm, when
            its rows in epochs.csv were made with other settings.
    """
    kept = rows = read_rows(study.results / "epochs.csv")
    known: list[PlannedRun] = []
    # What the trials of the choice gave makes further runs known.
    while len(runs := study.runs(rows)) > len(known):
        known = runs
        check_settings(study, runs, kept)
        rows = merged(rows, [row for run in known for row in rows_of(study, run, output)])
    return rows


def rows_of(study: Study, run: PlannedRun, output: Path) -> list[Row]:
    """The rows of a run from its folder; none while it has not ended.

    # Raises
        ValueError: naming the folder, when a run with another recipe is in it.
    """
    folder = folder_of(study, run, output)
    if not (folder / RECIPE).is_file():
        return []
    _check_same(folder, _trained(study, run, output))
    rows = [_row(run, folder, values) for values in history_of(folder)]
    if (folder / _DIVERGED).is_file():
        return [*rows, Row(*run[:4], len(rows), machine=_machine_of(folder))]
    return rows if len(rows) == run.recipe.epochs else []


def _row(run: PlannedRun, folder: Path, values: dict[str, str]) -> Row:
    epoch = int(values["epoch"])
    values = {"learning_rate": values.get("lr", ""), **values}  # Keras' name
    figures = {name: float(values[name]) for name in Row.figures() if values.get(name)}
    known: dict[str, Any] = {"machine": _machine_of(folder), **figures}
    return Row(*run[:4], epoch, **known)


def history_of(folder: Path) -> list[dict[str, str]]:
    """The rows of a run folder's history.csv, as text."""
    if not (folder / HISTORY).is_file():
        return []
    with open(folder / HISTORY, newline="") as file:
        return list(csv.DictReader(file))


def _machine_of(folder: Path) -> str:
    path = folder / _MACHINE
    return path.read_text().strip() if path.is_file() else ""


def _check_same(folder: Path, recipe: Recipe) -> None:
    kept = Recipe.load(folder / RECIPE)
    if kept.teacher and recipe.teacher:
        # All run folders of a study may have been moved together.
        kept = replace(kept, teacher=str(Path(recipe.teacher).parent / Path(kept.teacher).name))
    other = differences(vars(kept), vars(recipe))
    if other:
        raise ValueError(
            f"{folder} holds a run with another recipe than the study has now ({other}); "
            "give another --output, or move that folder away."
        )


def carry_out(study: Study, output: Path, selection: Selection) -> str:
    """Makes the runs that are not in the output folder, as far as they are known.

    What has ended is skipped, what was killed goes on, and what another process has at work is left
    to it. The trials of a choice come first, unless epochs.csv has them; the other runs of an arm
    follow once its trials have ended, here or on another machine.

    # Arguments
        study: A study.
        output: Folder of the run folders of all studies; several machines may share it.
        selection: Which runs to make.

    # Returns
        What was made and what is left, in a sentence.
    """
    selection.check(study)
    made = 0
    # Once: a report that is written meanwhile must not move what has been tried.
    kept = selection.kept(study)
    for phase in PHASES:
        tried = 0
        # Which arms are put together next depends on what the ones before gave.
        while runs := selection.of(_to_make(study, collected(study, output)), phase, kept)[tried:]:
            for run in runs:
                made += _make(study, run, output)
                tf.keras.backend.clear_session()
            tried += len(runs)
    left = sum(not is_done for _, is_done in planned(study, output, selection))
    if not left:
        return f"{made} runs made; all that were asked for are done."
    return (
        f"{made} runs made, {left} left, which other processes have at work or which wait for the "
        "trials of other shards; the same command goes on with them."
    )


def _make(study: Study, run: PlannedRun, output: Path) -> int:
    """Trains one run to its end, unless that has been done or another process is at it.

    Its teacher is trained before it, also where epochs.csv has that one's rows.

    # Returns
        How many runs were made.
    """
    folder, made = folder_of(study, run, output), 0
    if rows_of(study, run, output):
        return made
    if teacher := study.teacher_of(run):
        theirs = folder_of(study, teacher, output)
        if not (_teaches(theirs) or (theirs / _DIVERGED).is_file()):
            made = _train_in(theirs, teacher.recipe, output, is_teacher=True)
            tf.keras.backend.clear_session()
        if not _teaches(theirs):
            say(f"{folder}: left, because the run that teaches it, {theirs.name}, has not ended.")
            return made
    recipe = _trained(study, run, output)
    return made + _train_in(folder, recipe, output, is_teacher=run.arm in study.teachers)


def _teaches(folder: Path) -> bool:
    return (folder / INPUT).is_file()  # What is written last.


def _trained(study: Study, run: PlannedRun, output: Path) -> Recipe:
    """The recipe of a run, with its teacher's folder in place of the arm."""
    teacher = study.teacher_of(run)
    if teacher is None:
        return run.recipe
    return replace(run.recipe, teacher=str(folder_of(study, teacher, output).absolute()))


def _train_in(folder: Path, recipe: Recipe, output: Path, is_teacher: bool) -> bool:
    check_folder(folder)
    try:
        made = create(recipe, output, folder)
        with claimed(folder):
            say(f"{folder}: {epochs_done(folder)} of {recipe.epochs} epochs done.")
            same_images(folder, made.images, is_chief=True)
            write_atomically(folder / _MACHINE, machine() + "\n")
            model = _train(made, folder)
            if is_teacher and model is not None:
                keep_model(folder, model, made.images)
    except FolderBusyError:
        say(f"{folder}: another process is at work in it.")
        return False
    return True


def _train(run: Run, folder: Path) -> tf.keras.Model | None:
    try:
        return train(run.recipe, folder, run.images, run.strategy)
    except FloatingPointError as error:
        # It would diverge again; the study goes on without it and says so.
        say(str(error))
        write_atomically(folder / _DIVERGED, f"{error}\n")
        return None


def planned(study: Study, output: Path, selection: Selection) -> list[tuple[PlannedRun, bool]]:
    """What is to be made.

    # Arguments
        study: A study.
        output: Folder of the run folders of all studies.
        selection: Which runs are meant.

    # Returns
        The runs, also those that wait for a choice, and whether each has ended.
    """
    selection.check(study)
    rows = collected(study, output)
    runs = _to_make(study, rows, is_forecast=True)
    kept = selection.kept(study)
    meant = [run for phase in PHASES for run in selection.of(runs, phase, kept)]
    return [(run, bool(rows_of(study, run, output))) for run in meant]


def _to_make(study: Study, rows: Rows, is_forecast: bool = False) -> list[PlannedRun]:
    """The runs that are known, without trials of a choice that is made."""
    chosen = choose(study, rows)
    runs = study.runs(rows, is_forecast)
    return [run for run in runs if run.phase != "choose" or run.arm not in chosen]
