"""The figures of an arm, from its rows."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from siman_larq.studies import statistics
from siman_larq.studies.forecast import steps_per_epoch
from siman_larq.studies.plan import PlannedRun
from siman_larq.studies.rows import Key, Rows, final_figure, has_diverged

__all__ = ["CODE_FIGURES", "ArmFigures", "arms_of", "pairs"]

# Figures of codes and latent weights, of which a report gives the mean over seeds.
CODE_FIGURES = ("entropy", "sign_entropy", "beta", "angle", "never_flipped")


@dataclass(frozen=True)
class ArmFigures:
    """What the runs of an arm gave that have ended, in a phase.

    # Attributes
        arm: Name of the arm.
        setting: Value of the chosen hyper-parameter, or empty.
        planned: Seeds that the plan has.
        diverged: Those of them at which the training diverged.
        final: By seed, the accuracy after the last epoch, between 0 and 1.
        best: By seed, the best accuracy of any epoch.
        mean: Of the final accuracies, with its interval; `None` without any.
        code: Mean over seeds of figures of the code and the latent weights in the last epoch.
        flips: By seed, how often a binary weight flipped in the whole training, on average.
        dose: Sum over steps of learning rate times `binary_decay` / (1 - momentum).
        rows: Rows of its runs, by seed.
    """

    arm: str
    setting: str
    planned: tuple[int, ...]
    diverged: tuple[int, ...]
    final: dict[int, float]
    best: dict[int, float]
    mean: statistics.Mean | None
    code: dict[str, float]
    flips: dict[int, float]
    dose: float
    rows: dict[int, Rows]

    @property
    def missing(self) -> tuple[int, ...]:
        """Planned seeds whose runs have not ended."""
        return tuple(s for s in self.planned if s not in self.final and s not in self.diverged)

    def last(self, figure: str) -> dict[int, float]:
        """By seed, a figure of the last epoch, where it is known."""
        found = {seed: getattr(rows[-1], figure) for seed, rows in self.rows.items()}
        return {seed: value for seed, value in found.items() if not math.isnan(value)}


def arms_of(runs: Iterable[PlannedRun], found: Mapping[Key, Rows]) -> dict[str, ArmFigures]:
    """The figures of each arm, in the plan's order.

    # Arguments
        runs: Runs of one phase.
        found: Rows by run.

    # Returns
        Figures by name.
    """
    by_arm: dict[str, list[PlannedRun]] = {}
    for run in runs:
        by_arm.setdefault(run.arm, []).append(run)
    return {arm: _figures(own, found) for arm, own in by_arm.items()}


def _figures(runs: list[PlannedRun], found: Mapping[Key, Rows]) -> ArmFigures:
    recipe, rows, diverged = runs[0].recipe, {}, []
    for run in runs:
        own = found.get(run[:4], [])
        if has_diverged(own):
            diverged.append(run.seed)
        elif final_figure(own, recipe.epochs, "val_accuracy") is not None:
            rows[run.seed] = own
    final = {seed: own[-1].val_accuracy for seed, own in rows.items()}
    steps = steps_per_epoch(recipe)
    rates = sum(recipe.learning_rate_at(epoch) for epoch in range(recipe.epochs))
    last = [own[-1] for own in rows.values()]
    return ArmFigures(
        arm=runs[0].arm,
        setting=runs[0].setting,
        planned=tuple(run.seed for run in runs),
        diverged=tuple(diverged),
        final=final,
        best={seed: max(row.val_accuracy for row in own) for seed, own in rows.items()},
        mean=statistics.mean(list(final.values())) if final else None,
        code={name: _mean_of(last, name) for name in CODE_FIGURES},
        flips={seed: sum(row.flips for row in own) for seed, own in rows.items()},
        dose=rates * steps * recipe.binary_decay / (1 - recipe.momentum),
        rows=rows,
    )


def _mean_of(rows: Rows, figure: str) -> float:
    values = [value for row in rows if not math.isnan(value := getattr(row, figure))]
    return sum(values) / len(values) if values else math.nan


def pairs(first: ArmFigures, second: ArmFigures, figure: str) -> tuple[list[float], list[float]]:
    """A figure of the last epoch of two arms, of the seeds at which both are known."""
    x, y = first.last(figure), second.last(figure)
    both = [seed for seed in x if seed in y]
    return [x[seed] for seed in both], [y[seed] for seed in both]
