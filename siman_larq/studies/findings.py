"""What the rows of a study say: figures of its arms, differences, and whether its claim holds."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from siman_larq.studies import statistics
from siman_larq.studies.arms import ArmFigures, arms_of, pairs
from siman_larq.studies.combination import Combination
from siman_larq.studies.decisions import Decision, decide
from siman_larq.studies.plan import PHASES, Chosen, PlannedRun, Study, choose
from siman_larq.studies.rows import Key, Rows, by_run, final_figure

__all__ = ["Comparison", "Findings", "find"]


@dataclass(frozen=True)
class Comparison:
    """An arm against the reference, paired by seed; `p_holm` is after Holm over the arms."""

    arm: str
    reference: str
    difference: statistics.Difference
    p_holm: float


@dataclass(frozen=True)
class Findings:
    """What is known of a study.

    # Attributes
        study: The study.
        planned: Number of runs of the plan.
        ended: Number of those that have ended.
        trials: By arm and value of the hyper-parameter, accuracies on held-out images.
        chosen: The choice, as of `choose`.
        together: What came of putting arms together, as of `Study.combination`.
        phases: `"main"`, `"combine"` and `"final"`, as far as the study has them: the figures of
            each arm. What is put together has the reference beside it.
        comparisons: Likewise, every arm against the reference.
        decisions: What became of the tests.
        machines: Where the runs were made.
        others: Number of runs whose rows are of no run of the plan.
    """

    study: Study
    planned: int
    ended: int
    trials: dict[str, dict[str, list[float]]]
    chosen: Chosen
    together: Combination
    phases: dict[str, dict[str, ArmFigures]]
    comparisons: dict[str, list[Comparison]]
    decisions: list[Decision]
    machines: list[str]
    others: int


def find(study: Study, rows: Rows) -> Findings:
    """Works out what the rows of a study say.

    # Arguments
        study: A study.
        rows: Rows of epochs.csv.

    # Returns
        Its `Findings`, also of a study of which only a part has been run.
    """
    runs, found, chosen = study.runs(rows), by_run(rows), choose(study, rows)
    own = {run[:4]: found[run[:4]] for run in runs if run[:4] in found}
    together = study.combination(rows)
    has = {"main": True, "combine": study.combine, "final": study.finals}
    phases = {
        phase: arms_of([run for run in runs if run.phase == phase], own)
        for phase in PHASES[1:]
        if has[phase]
    }
    if phases.get("combine"):
        beside = phases["main"][study.reference]
        phases["combine"] = {study.reference: beside, **phases["combine"]}
    named = dict(phases)
    if study.finals:
        # Tests know finalists by what they are the best of.
        finalists = study.finalists(chosen, together.best)
        named["final"] = {name: phases["final"][arm] for name, arm in finalists.items()}
    ended = [final_figure(own.get(r[:4], []), r.recipe.epochs, "loss") is not None for r in runs]
    return Findings(
        study=study,
        planned=len(study.runs(rows, is_forecast=True)),
        ended=sum(ended),
        trials=_trials(runs, own),
        chosen=chosen,
        together=together,
        phases=phases,
        comparisons={phase: _comparisons(study, arms) for phase, arms in phases.items()},
        decisions=decide(study, named),
        machines=sorted({row.machine for kept in own.values() for row in kept if row.machine}),
        others=len(found) - len(own),
    )


def _trials(
    runs: Iterable[PlannedRun], found: Mapping[Key, Rows]
) -> dict[str, dict[str, list[float]]]:
    trials: dict[str, dict[str, list[float]]] = {}
    for run in runs:
        if run.phase == "choose":
            value = final_figure(found.get(run[:4], []), run.recipe.epochs, "val_accuracy")
            scores = trials.setdefault(run.arm, {}).setdefault(run.setting, [])
            scores += [] if value is None else [value]
    return trials


def _comparisons(study: Study, arms: Mapping[str, ArmFigures]) -> list[Comparison]:
    """Every arm of a phase against the reference, or against the first where that is not there."""
    if not arms:
        return []
    reference = arms.get(study.reference) or next(iter(arms.values()))
    others = [arm for arm in arms.values() if arm is not reference]
    both = [pairs(arm, reference, "val_accuracy") for arm in others]
    found = [
        (arm, statistics.difference(*pair))
        for arm, pair in zip(others, both, strict=True)
        if pair[0]
    ]
    corrected = statistics.holm([difference.p for _, difference in found])
    return [
        Comparison(arm.arm, reference.arm, difference, p)
        for (arm, difference), p in zip(found, corrected, strict=True)
    ]
