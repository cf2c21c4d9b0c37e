"""How long the runs of a study take."""

import contextlib
import statistics
from pathlib import Path

from siman_larq import data
from siman_larq.studies.carry_out import Selection, collected, folder_of, history_of, planned
from siman_larq.studies.plan import Study
from siman_larq.training.folder import RECIPE
from siman_larq.training.recipe import Recipe

__all__ = ["forecast", "steps_per_epoch"]

# ResNet-20 at batch 128 on two idle CPU cores; what has been measured here comes first.
_SECONDS_PER_STEP = 0.8


def forecast(study: Study, output: Path, selection: Selection) -> str:
    """The runs of a study with their steps and hours, a line each, and what is left of them.

    # Arguments
        study: A study.
        output: Folder of the run folders of all studies.
        selection: Which runs are meant.

    # Returns
        Lines for people to read.
    """
    runs = planned(study, output, selection)
    recipe = study.recipe_of(study.reference)
    seconds, source = _seconds_per_step(recipe, output)
    lines, left = [], []
    for run, is_done in runs:
        steps = run.recipe.epochs * steps_per_epoch(run.recipe)
        hours = steps * seconds / 3600
        state = "done" if is_done else f"{hours:7.2f} h"
        lines.append(
            f"{run.phase:6} {folder_of(study, run, output).name:40} {steps:7,} steps  {state}"
        )
        left += [] if is_done else [hours]
    if study.choice and any(run.setting == "" for run, _ in runs):
        lines.append(f"Runs without {study.choice.setting} wait for its choice.")
    if study.combine and not study.combination(collected(study, output)).best:
        lines.append(
            f"Which arms are put together to {study.combine} depends on runs that have not ended: "
            "those with + in their names stand for them."
        )
    lines.append(
        f"{len(runs)} runs, {len(runs) - len(left)} done; the others take {sum(left):.1f} hours at "
        f"{seconds:.3g} s a step ({source})."
    )
    return "\n".join(lines)


def steps_per_epoch(recipe: Recipe) -> int:
    """Training steps of an epoch of a study's run."""
    assert recipe.train_examples  # which a study has to give
    return data.steps_per_epoch(recipe.train_examples, recipe.batch_size)


def _seconds_per_step(recipe: Recipe, output: Path) -> tuple[float, str]:
    """Seconds of a training step, with its share of the tests, and how they are known."""
    measured = []
    for path in output.glob(f"*/*/{RECIPE}"):
        # Other runs than those of studies may lie there, also of other versions.
        with contextlib.suppress(ValueError):
            kept = Recipe.load(path)
            same = (kept.model, kept.batch_size) == (recipe.model, recipe.batch_size)
            if same and kept.train_examples:
                seconds = [row.get("seconds") for row in history_of(path.parent)]
                measured += [float(s) / steps_per_epoch(kept) for s in seconds if s]
    if measured:
        return statistics.median_low(measured), f"median of {len(measured)} epochs in {output}"
    return _SECONDS_PER_STEP, "ResNet-20 at batch 128 on two CPU cores; nothing was measured here"
