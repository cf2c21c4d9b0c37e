"""The report of a study: what its runs gave, as tables, pictures and JSON."""

import json
import math
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from siman_larq.files import write_atomically
from siman_larq.studies import pictures
from siman_larq.studies.arms import CODE_FIGURES, ArmFigures
from siman_larq.studies.carry_out import collected, rows_of
from siman_larq.studies.decisions import peak_of
from siman_larq.studies.findings import Comparison, Findings, find
from siman_larq.studies.plan import Study
from siman_larq.studies.rows import Rows, by_run, read_rows, write_rows
from siman_larq.studies.settings import keep_settings

__all__ = ["write_report"]

_ROUNDING = 1e-6  # of epochs.csv
_PHASES = {"main": "Runs", "combine": "Arms put together", "final": "Finals"}


def write_report(study: Study, output: Path) -> str:
    """Collects what has been run, and writes epochs.csv, settings.json, report.md, summary.json
    and pictures.

    # Arguments
        study: A study.
        output: Folder of the run folders of all studies. Without any the report is made from
            epochs.csv alone.

    # Returns
        What the tests decided, and where the report is, for people to read.

    # Raises
        ValueError: when nothing has been run, or a file of the results is damaged.
    """
    rows = collected(study, output)
    if not rows:
        raise ValueError(
            f"Nothing of {study.path} has been run: neither {study.results / 'epochs.csv'} nor "
            f"{output / study.name} has a run that ended."
        )
    write_rows(study.results / "epochs.csv", rows)
    rows = read_rows(study.results / "epochs.csv")  # with as many digits as any later report has
    keep_settings(study, study.runs(rows), rows)
    found = find(study, rows)
    drawn = _draw(found, study.results)
    write_atomically(study.results / "summary.json", _json(found))
    write_atomically(study.results / "report.md", _markdown(found, drawn))
    lines = [f"{d.verdict}: {d.says}; {d.because}." for d in found.decisions]
    lines += _anew(found, rows, output)
    return "\n".join([*lines, f"The report is {study.results / 'report.md'}."])


def _anew(found: Findings, rows: Rows, output: Path) -> list[str]:
    """Of runs that epochs.csv has from elsewhere and that were made here too: how they compare."""
    kept, here = by_run(rows), dict[tuple[str, str], list[float]]()
    for run in found.study.runs(rows):
        own = rows_of(found.study, run, output)
        if own and run.phase in found.phases:
            ours, theirs = own[-1].val_accuracy, kept[run[:4]][-1].val_accuracy
            # Of a run that diverged in both places there is none.
            if not np.isclose(ours, theirs, rtol=0, atol=_ROUNDING, equal_nan=True):
                here.setdefault((run.phase, run.arm), []).append(ours)
    return [
        f"{phase} {name}: {len(figures)} runs made anew here gave "
        f"{_percent(sum(figures) / len(figures))} % in the mean; epochs.csv, which keeps its own, "
        f"has {_interval(found.phases[phase][name])} %."
        for (phase, name), figures in here.items()
    ]


def _draw(found: Findings, folder: Path) -> list[tuple[str, str]]:
    """Draws what can be drawn; gives names of files and what they show."""
    drawn = []
    for phase, arms in found.phases.items():
        prefix = "" if phase == "main" else f"{phase}-"
        if any(arm.final for arm in arms.values()):
            pictures.draw_curves(arms, folder / f"{prefix}curves.png")
            drawn.append((f"{prefix}curves.png", "Accuracy: mean of each arm, range of its seeds"))
        if pictures.draw_flips(arms, folder / f"{prefix}flips.png"):
            drawn.append((f"{prefix}flips.png", "Accuracy against flips per weight, all arms"))
        if pictures.draw_codes(arms, folder / f"{prefix}codes.png"):
            drawn.append((f"{prefix}codes.png", "Codes and latent weights over epochs"))
    for test in found.study.tests:
        arms = found.phases["main"]
        if test.kind == "peak" and (fitted := peak_of(found.study, test, arms)):
            path = folder / f"{test.setting}.png"
            pictures.draw_peak(fitted[0], arms, fitted[1], test.setting, test.value, path)
            drawn.append((path.name, f"Accuracy by {test.setting}, with the interval of its peak"))
    return drawn


def _json(found: Findings) -> str:
    def arm_of(arm: ArmFigures) -> dict[str, Any]:
        return {k: v for k, v in asdict(arm).items() if k not in ("arm", "rows")}

    study = found.study
    summary = {
        "study": study.name,
        "title": study.title,
        "planned_runs": found.planned,
        "ended_runs": found.ended,
        "machines": found.machines,
        "chosen": {arm: value for arm, (_, value, _) in found.chosen.items() if study.choice},
        "trials": found.trials,
        "arms": {p: {n: arm_of(arm) for n, arm in a.items()} for p, a in found.phases.items()},
        **({"together": found.together.best} if study.combine else {}),
        "differences": {p: [asdict(c) for c in cs] for p, cs in found.comparisons.items()},
        "tests": [asdict(decision) for decision in found.decisions],
    }
    return json.dumps(_without_nan(summary), indent=1, allow_nan=False) + "\n"


def _without_nan(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_nan(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_without_nan(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _markdown(found: Findings, drawn: Sequence[tuple[str, str]]) -> str:
    study = found.study
    lines = [
        f"# {study.title}",
        f"Written by `studies/run.py {study.path.name} --report` from [epochs.csv](epochs.csv), "
        f"which has every epoch. {_state(found)}",
        "## Claim, written before the runs",
        study.claim,
        "## Test, written before the runs",
        study.test,
        "## Verdict",
        "\n".join(f"- **{d.verdict}**: {d.says}; {d.because}." for d in found.decisions),
        *_together(found),
    ]
    for phase, arms in found.phases.items():
        if any(arm.final or arm.diverged for arm in arms.values()):
            lines += _of_phase(found, phase, arms.values())
    if any(scores for values in found.trials.values() for scores in values.values()):
        lines += _choice(found)
    lines += [f"![{alt}]({name})" for name, alt in drawn]
    return "\n\n".join(lines) + "\n"


def _state(found: Findings) -> str:
    machines = f" Machines: {'; '.join(found.machines)}." if found.machines else ""
    others = (
        f" Rows of {found.others} other runs in it are of no run of the plan."
        if found.others
        else ""
    )
    missing = found.planned - found.ended
    said = (
        f"**{missing} of its {found.planned} runs are missing.**"
        if missing
        else "No run is missing."
    )
    return said + machines + others


def _together(found: Findings) -> list[str]:
    """What the arms that gain together are."""
    study = found.study
    if not study.combine:
        return []
    best = found.together.best
    if not best:
        return [f"What {study.combine!r} is will be known once the runs before the finals end."]
    if best == study.reference:
        return [f"There are no levers: {study.combine!r} is {study.reference} itself."]
    settings = study.arm(best).settings.items()
    listed = ", ".join(f"{name} {value}" for name, value in settings)
    said = f"{study.combine!r} is {best}: {listed}."
    if not found.together.gains:
        said += f" It is the best of them, and none is better than {study.reference}."
    return [said]


def _of_phase(found: Findings, phase: str, arms: Iterable[ArmFigures]) -> list[str]:
    study, arms = found.study, list(arms)
    given = dict(study.recipe) | (
        dict(study.finals.settings) if phase == "final" and study.finals else {}
    )
    chosen = study.choice.setting if study.choice else ""
    budget = ", ".join(f"{name} {value}" for name, value in given.items() if name != chosen)
    tested = "held-out training images" if given.get("held_out") else "the test images"
    lines = [
        f"## {_PHASES[phase]}: accuracy on {tested}, %",
        f"{budget}. After the last epoch, in round brackets the best of any epoch; in square "
        "brackets 95 % t-intervals of the mean.",
        _accuracies(found, arms),
    ]
    if found.comparisons[phase]:
        lines += [
            f"Differences in points from {found.comparisons[phase][0].reference}, paired by seed, "
            "with Holm's correction over the arms:",
            _differences(found.comparisons[phase]),
        ]
    if any(not math.isnan(v) for arm in arms for v in [*arm.code.values(), *arm.flips.values()]):
        lines += ["Codes and latent weights after the last epoch, means over seeds:", _codes(arms)]
    elif any(arm.dose for arm in arms):
        lines += [_codes(arms)]
    return lines


def _accuracies(found: Findings, arms: Sequence[ArmFigures]) -> str:
    seeds = sorted({seed for arm in arms for seed in arm.planned})
    choice = found.study.choice
    head = ["arm", *([choice.setting] if choice else []), *(f"seed {seed}" for seed in seeds)]
    rows = []
    for arm in arms:
        cells = [_cell(arm, seed) for seed in seeds]
        rows.append([arm.arm, *([arm.setting] if choice else []), *cells, _interval(arm)])
    return _table([*head, "mean"], rows)


def _cell(arm: ArmFigures, seed: int) -> str:
    if seed in arm.final:
        return f"{_percent(arm.final[seed])} ({_percent(arm.best[seed])})"
    return "diverged" if seed in arm.diverged else ("missing" if seed in arm.planned else "")


def _interval(arm: ArmFigures) -> str:
    if arm.mean is None:
        return ""
    best = _percent(sum(arm.best.values()) / len(arm.best))
    low, high = _percent(arm.mean.low), _percent(arm.mean.high)
    return f"{_percent(arm.mean.mean)} [{low} to {high}] ({best})"


def _differences(comparisons: Sequence[Comparison]) -> str:
    rows = []
    for c in comparisons:
        d = c.difference
        ends = (d.low, d.high, d.bootstrap_low, d.bootstrap_high)
        points = [_known(100 * x, "+.2f") for x in ends]
        rows.append(
            [
                c.arm,
                str(d.pairs),
                f"{100 * d.mean:+.2f}",
                f"{points[0]} to {points[1]}",
                f"{points[2]} to {points[3]}",
                _known(d.p, ".4f"),
                _known(c.p_holm, ".4f"),
            ]
        )
    return _table(["arm", "pairs", "mean", "95 % t", "95 % bootstrap", "p", "p, Holm"], rows)


def _codes(arms: Sequence[ArmFigures]) -> str:
    head = {
        "entropy": "entropy of code, bit",
        "sign_entropy": "of latent signs, bit",
        "beta": "beta (1 Laplace, 2 Gauss, at most 32)",
        "angle": "angle to abs(w), degrees",
        "never_flipped": "never flipped, share",
    }
    has_dose = any(arm.dose for arm in arms)
    rows = []
    for arm in arms:
        known = [flips for flips in arm.flips.values() if not math.isnan(flips)]
        flips = sum(known) / len(known) if known else math.nan
        figures = [*(arm.code[name] for name in CODE_FIGURES), flips]
        rows.append([arm.arm, *map(_plain, figures), *([f"{arm.dose:.2f}"] if has_dose else [])])
    titles = ["arm", *(head[name] for name in CODE_FIGURES), "flips per weight"]
    return _table([*titles, *(["dose of decay"] if has_dose else [])], rows)


def _choice(found: Findings) -> list[str]:
    choice = found.study.choice
    assert choice
    rows = []
    for arm, values in found.trials.items():
        best = found.chosen[arm][0] if arm in found.chosen else ""
        cells = []
        for text, scores in values.items():
            cell = ", ".join(_percent(score) for score in scores) or "missing"
            cells.append(f"**{cell}**" if text == best else cell)
        rows.append([arm, *cells])
    values = next(iter(found.trials.values()))
    seeds = ", ".join(map(str, choice.seeds))
    return [
        f"## Choice of {choice.setting}: accuracy on held-out images, %",
        f"On {choice.held_out:,} held-out training images, seeds {seeds}; the best mean is taken, "
        "of equal ones the smaller value.",
        _table(["arm", *values], rows),
    ]


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def _percent(share: float) -> str:
    return _known(100 * share, ".2f")


def _known(value: float, form: str) -> str:
    return "?" if math.isnan(value) else format(value, form)


def _plain(value: float) -> str:
    return "" if math.isnan(value) else f"{value:.3f}"
