"""Whether the parts of a claim hold, by the tests that were written before the runs."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from siman_larq.studies import statistics
from siman_larq.studies.arms import ArmFigures, pairs
from siman_larq.studies.plan import Study
from siman_larq.studies.tables import Test

__all__ = ["Decision", "decide", "peak_of", "unit_of"]

_SIGNIFICANT = 0.05
_HOLDS, _FAILS, _NOT_SHOWN, _OPEN = "holds", "does not hold", "not shown", "not decided"
_NO_SPREAD = "without a spread to judge by"
Arms = Mapping[str, ArmFigures]


@dataclass(frozen=True)
class Decision:
    """What became of a test.

    # Attributes
        says: The part of the claim.
        verdict: `"holds"`, `"does not hold"` (the opposite was shown), `"not shown"` (neither was),
            or `"not decided"` (runs are missing).
        because: The figures, in words.
        figures: The same for programs; empty if it is not decided.
    """

    says: str
    verdict: str
    because: str
    figures: Mapping[str, float]


def decide(study: Study, arms: Mapping[str, Arms]) -> list[Decision]:
    """Carries out the tests of a study.

    # Arguments
        study: A study.
        arms: By phase the figures of its arms, by the names that the tests know them by.

    # Returns
        A decision for each test. A test of which a run is missing is not decided, so that nobody
        stops when it suits him.
    """
    decisions = {}
    for phase in arms:
        tests = [test for test in study.tests if test.phase == phase and test.kind == "greater"]
        # Those that are not decided count too: what is shown stays shown once they are.
        found = [_difference(test, arms[phase]) for test in tests]
        p_values = [math.nan if isinstance(f, str) else f.p for f in found]
        corrected = statistics.holm(p_values)
        for test, difference, p in zip(tests, found, corrected, strict=True):
            decisions[test] = _greater(test, difference, p)
    for test in study.tests:
        if test.kind == "equivalent":
            decisions[test] = _equivalent(test, arms[test.phase])
        elif test.kind == "predicted":
            decisions[test] = _predicted(test, arms[test.phase])
        elif test.kind == "peak":
            decisions[test] = _peak(study, test, arms[test.phase])
    return [decisions[test] for test in study.tests]


def unit_of(figure: str) -> tuple[float, str]:
    """By what a figure is multiplied for people, and what that is called."""
    is_share = "accuracy" in figure or figure == "never_flipped"
    return (100.0, " points") if is_share else (1.0, f" of {figure}")


def _lacking(test: Test, arms: Arms) -> str:
    """What keeps a test from being decided; empty if nothing does."""
    names = [name for name in (test.arm, test.than) if name]
    if any(name not in arms for name in names):
        return "what an arm needs is not chosen as yet"
    for arm in (arms[name] for name in names):
        if arm.diverged:
            return f"{arm.arm} diverged at seed {', '.join(map(str, arm.diverged))}"
        if lacking := len(arm.planned) - len(arm.last(test.figure)):
            name = "runs" if arm.missing else f"runs with {test.figure}"
            return f"of {arm.arm} {lacking} of {len(arm.planned)} {name} are missing"
    return ""


def _difference(test: Test, arms: Arms) -> statistics.Difference | str:
    if lacking := _lacking(test, arms):
        return lacking
    return statistics.difference(*pairs(arms[test.arm], arms[test.than], test.figure))


def _greater(test: Test, difference: statistics.Difference | str, p: float) -> Decision:
    if isinstance(difference, str):
        return Decision(test.says, _OPEN, difference, {})
    verdict = _NOT_SHOWN
    if p < _SIGNIFICANT:
        verdict = _HOLDS if difference.mean > 0 else _FAILS
    because = _gain(test, difference, difference.pairs, "", f"{_p(p)} after Holm")
    figures = {name: getattr(difference, name) for name in ("mean", "low", "high", "p")}
    return Decision(test.says, verdict, because, {**figures, "p_holm": p})


def _equivalent(test: Test, arms: Arms) -> Decision:
    if lacking := _lacking(test, arms):
        return Decision(test.says, _OPEN, lacking, {})
    first, second = pairs(arms[test.arm], arms[test.than], test.figure)
    found = statistics.equivalence(first, second, test.margin)
    scale, unit = unit_of(test.figure)
    verdict = _NOT_SHOWN
    if found.p < _SIGNIFICANT:
        verdict = _HOLDS
    elif found.low > test.margin or found.high < -test.margin:
        verdict = _FAILS
    judged = f"margin {scale * test.margin:g}{unit}, {_p(found.p)}"
    because = _gain(test, found, len(first), "90 % interval ", judged)
    figures = {"mean": found.mean, "low": found.low, "high": found.high, "p": found.p}
    return Decision(test.says, verdict, because, {**figures, "margin": test.margin})


def _gain(
    test: Test,
    found: statistics.Difference | statistics.Equivalence,
    seeds: int,
    interval: str,
    judged: str,
) -> str:
    """How an arm differs from the other, in words."""
    scale, unit = unit_of(test.figure)
    mean = f"{test.arm} against {test.than}: {scale * found.mean:+.2f}{unit}"
    if math.isnan(found.low):
        return f"{mean} at {seeds} seeds, {_NO_SPREAD}"
    ends = f"{scale * found.low:+.2f} to {scale * found.high:+.2f}"
    return f"{mean} ({interval}{ends}), {judged}, {seeds} seeds"


def _predicted(test: Test, arms: Arms) -> Decision:
    if lacking := _lacking(test, arms):
        return Decision(test.says, _OPEN, lacking, {})
    values = [*arms[test.arm].last(test.figure).values()]
    low, high = statistics.predicted(values)
    scale, unit = unit_of(test.figure)
    if math.isnan(low):
        because = f"{test.arm} gave {scale * values[0]:.2f} at {len(values)} seeds, {_NO_SPREAD}"
        return Decision(test.says, _NOT_SHOWN, because, {"value": test.value})
    because = (
        f"the 95 % interval of one more run of {test.arm} is {scale * low:.2f} to "
        f"{scale * high:.2f}{unit}, {len(values)} seeds; the other run gave {scale * test.value:g}"
    )
    verdict = _HOLDS if low <= test.value <= high else _FAILS
    return Decision(test.says, verdict, because, {"low": low, "high": high, "value": test.value})


def peak_of(study: Study, test: Test, arms: Arms) -> tuple[list[float], statistics.Peak] | None:
    """The places and the quadratic of a test of kind `"peak"`, by the seeds that all arms have."""
    figures = [arm.last(test.figure) for arm in arms.values()]
    seeds = [seed for seed in figures[0] if all(seed in figure for figure in figures)]
    if not seeds or any(arm.missing or arm.diverged for arm in arms.values()):
        return None
    places = [float(getattr(study.recipe_of(name), test.setting)) for name in arms]
    y = np.array([[figure[seed] for figure in figures] for seed in seeds])
    return places, statistics.peak(places, y)


def _peak(study: Study, test: Test, arms: Arms) -> Decision:
    fitted = peak_of(study, test, arms)
    if fitted is None:
        lacking = sum(len(arm.planned) - len(arm.final) for arm in arms.values())
        return Decision(test.says, _OPEN, f"{lacking} runs are missing or diverged", {})
    fit = fitted[1]
    if math.isnan(fit.deviation):
        because = "one seed of three arms leaves nothing over to judge the quadratic by"
        return Decision(test.says, _NOT_SHOWN, because, {})
    if not math.isfinite(fit.low):
        return Decision(test.says, _NOT_SHOWN, "the quadratic has no significant peak", {})
    verdict = _HOLDS if fit.low <= test.value <= fit.high else _FAILS
    because = f"best {test.setting} {fit.best:.3f} ({fit.low:.3f} to {fit.high:.3f})"
    if fit.lack_of_fit_p < _SIGNIFICANT:
        because += f"; a quadratic does not fit well (lack of fit: {_p(fit.lack_of_fit_p)})"
    figures = {"best": fit.best, "low": fit.low, "high": fit.high}
    return Decision(test.says, verdict, because, {**figures, "lack_of_fit_p": fit.lack_of_fit_p})


def _p(p: float) -> str:
    return "p < 0.001" if p < 0.001 else f"p = {p:.3f}"
