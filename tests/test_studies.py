"""Studies: their plans, their statistics, their runs and what a report makes of them."""

import importlib
import json
import math
import re
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import shallow
import tensorflow as tf
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from siman_larq import models
from siman_larq.studies import carry_out as making
from siman_larq.studies import pictures, statistics
from siman_larq.studies.carry_out import Selection, carry_out, collected, folder_of, planned
from siman_larq.studies.findings import find
from siman_larq.studies.forecast import forecast
from siman_larq.studies.plan import choose
from siman_larq.studies.reading import read
from siman_larq.studies.report import write_report
from siman_larq.studies.rows import Row, has_diverged, merged, read_rows, write_rows
from siman_larq.training.folder import FolderBusyError

STUDIES = Path(__file__).parents[1] / "studies"
NOTHING = Path("no-such-folder")
TINY = """
title = "Levels"
claim = "One is better."
test = "t-test"
seeds = [0, 1, 2]

[recipe]
dataset = "fashion_mnist_mini"
train_examples = 32
test_examples = 16
epochs = 2
batch_size = 16
warmup_epochs = 0

[[arms]]
name = "pm1"

[[arms]]
name = "01"
levels = [0, 1]

[[tests]]
kind = "greater"
says = "one is better"
arm = "pm1"
than = "01"

[[tests]]
kind = "equivalent"
says = "both are equal"
arm = "pm1"
than = "01"
margin = 0.02

[[tests]]
kind = "predicted"
says = "it is as good as the others'"
arm = "pm1"
value = 0.85
"""
CHOOSE = """
[choose]
setting = "learning_rate"
values = [0.3, 0.1]
seeds = [100, 101]
held_out = 50

[finals]
best_of = "levels"
seeds = [0, 1]
epochs = 3
"""


@pytest.fixture
def study(tmp_path):
    return written(tmp_path, TINY)


def written(folder, text, name="tiny"):
    path = folder / f"{name}.toml"
    path.write_text(text)
    return read(path)


def rows_of(run, accuracy, **figures):
    """The rows of a run that ends with an accuracy."""
    return [
        Row(*run[:4], epoch, loss=1.0, val_accuracy=accuracy, **figures)
        for epoch in range(run.recipe.epochs)
    ]


# Statistics


def test_interval_is_that_of_scipy():
    values = [0.78, 0.79, 0.81, 0.77]
    found = statistics.mean(values)
    expected = stats.t.interval(0.95, 3, np.mean(values), stats.sem(values))
    assert (found.low, found.high) == pytest.approx(expected)
    assert found.deviation == pytest.approx(np.std(values, ddof=1))


def test_difference_is_a_paired_t_test():
    first, second = [3.0, 4.0, 6.0, 5.5], [2.0, 2.5, 5.0, 5.0]
    found = statistics.difference(first, second)
    expected = stats.ttest_rel(first, second)
    assert found.p == pytest.approx(expected.pvalue)
    assert (found.low, found.high) == pytest.approx(expected.confidence_interval())
    assert found.mean == 1
    assert min(0.5, found.low) <= found.bootstrap_low < 1 < found.bootstrap_high <= 1.5


def test_differences_without_spread():
    """Of accuracies of a few hundred images two differences are often equal by chance."""
    first = [0.1 + 0.2] * 3 + [2.0, 3.0, 4.0]
    same = statistics.difference(first, [0.3] * 3 + [2.0, 3.0, 4.0])
    assert (same.p, same.low, same.high) == pytest.approx((1, 0, 0))
    second = [x - 0.5 for x in first]
    few, many = (statistics.difference(first[:n], second[:n]) for n in (2, 6))
    assert (few.p, many.p) == (0.5, 2 * 0.5**6)
    assert math.isnan(few.low)
    assert (many.low, many.bootstrap_high) == pytest.approx((0.5, 0.5))
    assert statistics.equivalence(first[:2], second[:2], 0.6).p == 0.25
    assert statistics.equivalence(first, second, 0.6).p == 0.5**6
    assert statistics.equivalence(first, second, 0.4).p == 1
    assert statistics.equivalence(first, second, 0.4).low > 0.4
    assert math.isnan(statistics.equivalence(first[:2], second[:2], 0.4).low)
    assert all(map(math.isnan, statistics.predicted([0.8, 0.8])))


def test_equivalence_is_two_one_sided_tests():
    # By hand: differences 0, 0.2, 0.4: mean 0.2, standard error 0.2 / sqrt(3), 2 degrees.
    found = statistics.equivalence([1.0, 1.2, 1.4], [1.0, 1.0, 1.0], margin=1)
    assert found.p == pytest.approx(stats.t.sf(0.8 / (0.2 / math.sqrt(3)), 2))
    reach = stats.t.ppf(0.95, 2) * 0.2 / math.sqrt(3)
    assert (found.low, found.high) == pytest.approx((0.2 - reach, 0.2 + reach))


@given(st.lists(st.floats(-1, 1), min_size=3, max_size=8), st.floats(0.01, 1))
def test_equivalence_holds_when_its_interval_is_within_the_margin(differences, margin):
    found = statistics.equivalence(differences, [0.0] * len(differences), margin)
    if np.std(differences) > 1e-6 and abs(found.p - 0.05) > 1e-6:
        assert (found.p < 0.05) == (-margin < found.low and found.high < margin)


def test_interval_of_one_more_value():
    values = [0.78, 0.79, 0.81, 0.77]
    scale = np.std(values, ddof=1) * math.sqrt(1 + 1 / 4)
    expected = stats.t.interval(0.95, 3, np.mean(values), scale)
    assert statistics.predicted(values) == pytest.approx(expected)


def test_holm():
    assert statistics.holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    # A test to come counts.
    assert statistics.holm([math.nan, 0.03])[1] == pytest.approx(0.06)


def test_peak_of_a_quadratic():
    rng = np.random.default_rng(0)
    x = np.linspace(0.25, 0.75, 11)
    exact = 0.8 - (x - 0.53) ** 2
    found = statistics.peak(x, np.stack([exact, exact + 0.1]))
    assert found.best == pytest.approx(0.53)
    assert found.coefficients == pytest.approx((0.85 - 0.53**2, 1.06, -1))
    noisy = exact + 0.004 * rng.standard_normal((5, 11))
    found = statistics.peak(x, noisy)
    assert found.low < 0.53 < found.high
    assert found.high - found.low < 0.05
    assert found.lack_of_fit_p > 0.01
    # Offsets of seeds do not matter.
    shifted = statistics.peak(x, noisy + rng.standard_normal((5, 1)))
    assert (shifted.low, shifted.high) == pytest.approx((found.low, found.high))


def test_interval_of_a_peak_is_where_the_slope_is_not_significant():
    rng = np.random.default_rng(1)
    x = np.linspace(0, 1, 6)
    y = -((x - 0.4) ** 2) + 0.02 * rng.standard_normal((3, 6))
    found = statistics.peak(x, y)
    design = np.column_stack([*np.kron(np.eye(3), np.ones(6)), np.tile(x, 3), np.tile(x**2, 3)])
    beta, *_ = np.linalg.lstsq(design, y.ravel(), rcond=None)
    variance = np.sum((y.ravel() - design @ beta) ** 2) / (18 - 5)
    covariance = variance * np.linalg.inv(design.T @ design)[-2:, -2:]
    for end in (found.low, found.high):
        gradient = np.array([1, 2 * end])
        t = gradient @ beta[-2:] / math.sqrt(gradient @ covariance @ gradient)
        assert abs(t) == pytest.approx(stats.t.ppf(0.975, 13))


def test_no_peak_and_no_quadratic():
    x = np.linspace(0, 1, 11)
    assert math.isinf(statistics.peak(x, np.stack([x**2, x**2 + 0.01])).high)
    steps = np.where(x > 0.7, 0.0, 1.0) + 0.01 * np.random.default_rng(0).standard_normal((5, 11))
    assert statistics.peak(x, steps).lack_of_fit_p < 1e-6


# Plans


@pytest.mark.parametrize("path", sorted(STUDIES.glob("*.toml")), ids=lambda path: path.stem)
def test_studies_of_the_project(path, tmp_path):
    # Beside no results, of which trials that are known need not be made.
    study = read(Path(shutil.copy(path, tmp_path)))
    runs = study.runs(is_forecast=True)
    assert len({run[:4] for run in runs if run.setting or not study.choice}) == len(
        [run for run in runs if run.setting or not study.choice]
    )
    # Nothing is chosen on test images, and nothing else is tested on fewer than all of them.
    assert all(run.recipe.held_out == 5000 for run in runs if run.phase == "choose")
    chosen_on = ("choose", "main", "combine") if study.combine else ("choose",)
    assert all((run.recipe.held_out > 0) == (run.phase in chosen_on) for run in runs)
    assert all(run.recipe.test_examples is None for run in runs)
    assert forecast(study, NOTHING, Selection()).splitlines()[-1].startswith(f"{len(runs)} runs")


def test_dose_of_decay_is_large_enough_to_show():
    study = read(STUDIES / "l2.toml")
    arms = find(study, []).phases["main"]
    assert arms["both-0"].dose == arms["none-0"].dose == 0
    assert arms["both-5e-4"].dose == pytest.approx(0.1 / 2 * 10 * 2250 * 5e-4 / 0.1)
    assert arms["both-5e-4"].dose >= 5


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('title = "Levels"', "title = ", "no TOML file"),
        ('title = "Levels"', "", "lacks the key 'title'"),
        ('title = "Levels"', 'titel = "Levels"', "unknown key 'titel'"),
        ("epochs = 2", "epoch = 2", r"\[recipe\] has the unknown key 'epoch'"),
        ("train_examples = 32", "", "lacks the key 'train_examples'"),
        ("levels = [0, 1]", "level = [0, 1]", "unknown key 'level'"),
        ('name = "01"', 'name = "a+b"', "becomes a folder's"),
        ('"Levels"', '"Levels"\ncombine = "best"', "not on test images; give .recipe. held_out"),
        ("levels = [0, 1]", 'model = "resnet"', "arm '01': model='resnet' is unknown"),
        ("levels = [0, 1]", 'epochs = "many"', "arm '01'"),
        ('name = "01"', 'name = "pm1"', "two arms have the name 'pm1'"),
        ('name = "01"', 'name = "a/b"', "becomes a folder's"),
        ('than = "01"', 'than = "02"', "'02' is no arm; the arms are pm1, 01"),
        ('kind = "greater"', 'kind = "better"', "kind='better' is unknown"),
        ("margin = 0.02", "", "lacks the key 'margin'"),
        ("margin = 0.02", "margin = 0", "margin=0 must be above 0"),
        ("value = 0.85", 'than = "01"', "unknown key 'than'"),
        ("margin = 0.02", 'margin = 1\nfigure = "speed"', "'speed' is no column"),
        ("seeds = [0, 1, 2]", "seeds = [0, 0]", r"seeds=\[0, 0\] must be"),
        ("[recipe]", 'reference = "x"\n[recipe]', "reference: 'x' is no arm"),
        ("[recipe]", "[finals]\nseeds = [0]\n[recipe]", "either arms or best_of"),
        ("[recipe]", '[finals]\nseeds = [0]\nbest_of = "levels"\n[recipe]', "held-out images"),
        ('claim = "One is better."', "claim = 3", "claim=3 must be a text"),
        ('name = "pm1"', "name = 3", "name=3 must be a text"),
        ("value = 0.85", 'value = "0.85"', "value='0.85' must be a finite number"),
        ("value = 0.85", "value = nan", "value=nan must be a finite number"),
        ("margin = 0.02", "margin = true", "margin=True must be a finite number"),
        ("seeds = [0, 1, 2]", 'seeds = [0]\nreference = ["pm1"]', "must be a text"),
        ("seeds = [0, 1, 2]", "seeds = [0]\nchoose = 3", "choose=3 must be a table"),
        ("seeds = [0, 1, 2]", "seeds = [0]\nfinals = [1]", r"finals=\[1\] must be a table"),
        ("train_examples = 32", "train_examples = 0", "train_examples=0 must be a number from 1"),
        ("levels = [0, 1]", "train_examples = 8", "arm '01': batch_size=16 does not fit 8"),
        ("levels = [0, 1]", 'strategy = "multiworker"', "arm '01': strategy='multiworker' .*--sh"),
        (
            "levels = [0, 1]",
            'epochs = 3\n[finals]\nseeds = [0]\narms = ["01"]\nepochs = 4',
            "arm '01': epochs would be another in the finals",
        ),
    ],
)
def test_what_is_wrong_with_a_plan(tmp_path, old, new, message):
    assert old in TINY
    with pytest.raises(ValueError, match=message) as error:
        written(tmp_path, TINY.replace(old, new, 1))
    assert str(error.value).startswith(str(tmp_path / "tiny.toml"))


@pytest.mark.parametrize(
    ("arms", "message"),
    [
        ("arms = []", "arms is empty; give at least one"),
        ("arms = [3]", r"\[\[arms\]\] must be a table; it is 3"),
        ('[arms]\nname = "pm1"', r"arms=\{.*\} must be a list; write \[\[arms\]\]"),
    ],
)
def test_no_arms(tmp_path, arms, message):
    given, recipe = TINY[: TINY.index("[[")].split("[recipe]")
    with pytest.raises(ValueError, match=message):
        written(tmp_path, f"{given}\ntests = []\n{arms}\n[recipe]{recipe}")


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("[0.3, 0.1]", "[0.1, 0.1, 0.3]", "two values are 0.1 in their first 6 digits"),
        ("[0.3, 0.1]", "[0.1000001, 0.1, 0.3]", "two values are 0.1 in their first 6 digits"),
        ("[0.3, 0.1]", '[0.3, "0.1"]', "must be of one kind"),
        ("[0.3, 0.1]", "0.3", "values=0.3 must be a list"),
        ("[0.3, 0.1]", "[]", "values is empty"),
        ("held_out = 50", "held_out = 0", "held_out=0 must be a number of training images"),
        ("held_out = 50", 'held_out = "50"', "held_out='50' must be a number"),
        ('"learning_rate"', '"held_out"', "setting='held_out' cannot be chosen"),
        ("levels = [0, 1]", "learning_rate = 1.0", "arm '01': learning_rate is what .choose"),
        ("epochs = 3", "learning_rate = 1.0", r"\[finals\]: learning_rate is what .choose"),
        ("levels = [0, 1]", "epochs = 1", "arm '01': epochs would be another in the finals"),
        (
            "[[tests]]",
            '[[tests]]\nkind = "peak"\nsays = "x"\nsetting = "epochs"\nvalue = 1\nphase = "final"\n'
            "[[tests]]",
            "leave out phase='final'",
        ),
    ],
)
def test_what_cannot_be_chosen(tmp_path, old, new, message):
    text = TINY + CHOOSE
    assert old in text
    with pytest.raises(ValueError, match=message):
        written(tmp_path, text.replace(old, new, 1))


def test_epochs_can_be_chosen(tmp_path):
    text = (TINY + CHOOSE[: CHOOSE.index("[finals]")]).replace('"learning_rate"', '"epochs"')
    study = written(tmp_path, text.replace("[0.3, 0.1]", "[1, 3]"))
    rows = [row for run in study.runs() for row in rows_of(run, 0.1 * run.recipe.epochs)]
    assert {arm: value for arm, (_, value, _) in choose(study, rows).items()} == {"pm1": 3, "01": 3}
    runs = study.runs(rows)
    assert {run.recipe.epochs for run in runs if run.phase == "main"} == {3}
    write_rows(study.results / "epochs.csv", [row for run in runs for row in rows_of(run, 0.5)])
    write_report(study, NOTHING)
    # Of [recipe], which no run has.
    assert "epochs 2" not in (study.results / "report.md").read_text()


def test_choice_is_the_best_on_held_out_images(tmp_path):
    study = written(tmp_path, TINY + CHOOSE)
    trials = study.runs()
    assert {run.phase for run in trials} == {"choose"}
    assert {run.recipe.held_out for run in trials} == {50}
    assert [run.setting for run in trials[:3]] == ["0.1", "0.1", "0.3"]
    scores = {("pm1", "0.1"): 0.7, ("pm1", "0.3"): 0.7, ("01", "0.1"): 0.5, ("01", "0.3"): 0.6}
    rows = [row for run in trials for row in rows_of(run, scores[run.arm, run.setting])]
    # An arm waits for its own trials alone.
    assert set(choose(study, rows[:-1])) == {"pm1"}
    known = study.runs(rows[:-1])[len(trials) :]
    assert {(run.phase, run.arm) for run in known} == {("main", "pm1"), ("final", "pm1")}
    # Of equal ones the smaller.
    assert choose(study, rows) == {"pm1": ("0.1", 0.1, 0.7), "01": ("0.3", 0.3, 0.6)}
    runs = study.runs(rows)
    main = [run for run in runs if run.phase == "main"]
    assert {(r.arm, r.setting, r.recipe.learning_rate) for r in main} == {
        ("pm1", "0.1", 0.1),
        ("01", "0.3", 0.3),
    }
    finals = [run for run in runs if run.phase == "final"]
    assert [(r.arm, r.seed, r.recipe.epochs) for r in finals] == [
        ("pm1", 0, 3),
        ("pm1", 1, 3),
        ("01", 0, 3),
        ("01", 1, 3),
    ]
    # A trial that diverged is never chosen.
    diverged = [row for row in rows if row.run != trials[-1][:4]] + [Row(*trials[-1][:4], 0)]
    assert choose(study, diverged)["01"][0] == "0.1"


COMBINE = (
    TINY[: TINY.index("[[arms]]")].replace("[recipe]", 'combine = "best"\n[recipe]\nheld_out = 50')
    + """
[finals]
arms = ["best", "plain"]
seeds = [0, 1, 2]
epochs = 3
held_out = 0

[[arms]]
name = "plain"

[[arms]]
name = "wide"
gradient_width = 2.0

[[arms]]
name = "wider"
gradient_width = 3.0

[[arms]]
name = "worse"
centred = true

[[arms]]
name = "slow"
kernel_rate = 0.5

[[arms]]
name = "smooth"
label_smoothing = 0.1

[[tests]]
kind = "greater"
says = "best is better"
phase = "final"
arm = "best"
than = "plain"
"""
)
GAINS = {"wide": 0.03, "wider": 0.05, "worse": -0.01, "slow": 0.02, "smooth": 0.04, "plain": 0}


def ending_at(run):
    """The rows of a run; "slow" gains alone and costs more than that beside others."""
    gain = sum(GAINS[part] for part in run.arm.split("+"))
    if "+slow" in run.arm:
        gain -= 0.03
    return rows_of(run, 0.7 + gain + 0.001 * run.seed * (1 + len(run.arm) % 3))


def test_levers_are_put_together_while_they_gain(tmp_path, monkeypatch):
    study = written(tmp_path, COMBINE)
    made = []

    def make(study, run, output):
        made.append(run)
        return True

    monkeypatch.setattr(making, "_make", make)
    monkeypatch.setattr(
        making, "rows_of", lambda study, run, output: ending_at(run) if run in made else []
    )
    said = carry_out(study, NOTHING, Selection())
    assert said == f"{len(made)} runs made; all that were asked for are done."
    arms = [(run.phase, run.arm) for run in made]
    assert arms[:18] == [("main", arm.name) for arm in study.arms for _ in range(3)]
    # The best first; "wide" sets what "wider" has set, "worse" does not gain.
    tried = ["wider+smooth", "wider+smooth+slow"]
    assert arms[18:24] == [("combine", name) for name in tried for _ in range(3)]
    assert arms[24:] == [("final", name) for name in ("wider+smooth", "plain") for _ in range(3)]
    assert {run.recipe.held_out for run in made[:24]} == {50}
    final = made[24].recipe
    assert (final.gradient_width, final.label_smoothing, final.kernel_rate) == (3, 0.1, 1)
    assert (final.epochs, final.held_out) == (3, 0)

    write_report(study, NOTHING)
    text = (study.results / "report.md").read_text()
    assert "'best' is wider+smooth: gradient_width 3.0, label_smoothing 0.1." in text
    assert "## Runs: accuracy on held-out training images, %" in text
    assert "## Arms put together: accuracy on held-out training images, %" in text
    assert "## Finals: accuracy on the test images, %" in text
    assert "No run is missing" in text
    (test,) = json.loads((study.results / "summary.json").read_text())["tests"]
    assert test["verdict"] == "holds"
    assert test["figures"]["mean"] == pytest.approx(0.05 + 0.04 - 0.002)  # of the seeds


def test_a_report_meanwhile_keeps_no_missing_run_from_being_made(tmp_path, monkeypatch):
    study = written(tmp_path, COMBINE)
    made = []

    def make(study, run, output):
        made.append(run)
        write_rows(study.results / "epochs.csv", [row for run in made for row in ending_at(run)])
        return True

    monkeypatch.setattr(making, "_make", make)
    monkeypatch.setattr(making, "rows_of", lambda *_: [])
    carry_out(study, NOTHING, Selection(missing=True))
    assert [run.phase for run in made] == ["main"] * 18 + ["combine"] * 6 + ["final"] * 6
    assert carry_out(study, NOTHING, Selection(missing=True)).startswith("0 runs made; all")


def test_levers_wait_for_their_runs(tmp_path):
    study = written(tmp_path, COMBINE)
    first = study.runs()
    assert {run.phase for run in first} == {"main", "final"}
    assert {run.arm for run in first if run.phase == "final"} == {"plain"}
    assert "with + in their names stand for them" in forecast(study, NOTHING, Selection())
    rows = [row for run in first for row in ending_at(run)]
    second = study.runs(rows)
    assert {run.arm for run in second if run.phase == "combine"} == {"wider+smooth"}
    # One that diverged gains nothing.
    (lost,) = (run for run in second if run.phase == "combine" and run.seed == 0)
    others = [row for run in second if run != lost for row in ending_at(run)]
    rows = [*others, Row(*lost[:4], 0)]
    assert study.combination(rows).trials == ("wider+smooth", "wider+slow")
    # Where nothing gains the finals take the best one.
    losses = {"plain": 0, "slow": -0.01}
    rows = [row for run in first for row in rows_of(run, 0.7 + losses.get(run.arm, -0.02))]
    assert study.combination(rows) == ((), "slow", False)
    finals = [run for run in study.runs(rows) if run.phase == "final"]
    assert [run.arm for run in finals] == ["slow"] * 3 + ["plain"] * 3
    rows += [row for run in finals[:3] for row in rows_of(run, 0.7)]
    write_rows(study.results / "epochs.csv", rows)
    write_report(study, NOTHING)
    said = "'best' is slow: kernel_rate 0.5. It is the best of them, and none is better than plain."
    assert said in (study.results / "report.md").read_text()
    assert find(study, rows).decisions[0].verdict == "not shown"


def test_a_lever_that_diverged_at_a_seed_does_not_gain(tmp_path):
    study = written(tmp_path, COMBINE)
    first = [run for run in study.runs() if run.phase == "main"]
    (lost,) = (run for run in first if (run.arm, run.seed) == ("slow", 0))
    ends = {"plain": 0.7, "slow": 0.9}
    rows = [row for run in first if run != lost for row in rows_of(run, ends.get(run.arm, 0.5))]
    write_rows(study.results / "epochs.csv", [*rows, Row(*lost[:4], 0)])
    write_report(study, NOTHING)
    said = "'best' is slow: kernel_rate 0.5. It is the best of them, and none is better than plain."
    assert said in (study.results / "report.md").read_text()


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('combine = "best"', 'combine = "wide"', "combine='wide' is an arm's name"),
        ('["best", "plain"]', '["wide", "plain"]', r"'best' must be among \[finals\] arms"),
        ("held_out = 0", "", "must have held_out = 0"),
        ('"plain"\n', '"plain"\nclip_start = 1.0\n', "reference 'plain' has settings"),
        ('phase = "final"', 'phase = "combine"', "phase='combine' is not one of this study"),
    ],
)
def test_what_cannot_be_put_together(tmp_path, old, new, message):
    assert old in COMBINE
    with pytest.raises(ValueError, match=message):
        written(tmp_path, COMBINE.replace(old, new, 1))


def test_what_excludes_an_earlier_lever_is_passed_over(tmp_path):
    """A teacher's answers take the place of labels, and what only teaches is no lever."""
    taught = 'teacher = "real"\n\n[[arms]]\nname = "real"\nis_float = true\n'
    study = written(tmp_path, COMBINE.replace("kernel_rate = 0.5\n", taught))
    gains = {"real": 0.2, "smooth": 0.04, "wide": 0.03, "slow": 0.02}
    first = [run for run in study.runs() if run.phase == "main"]
    rows = [row for run in first for row in rows_of(run, 0.7 + gains.get(run.arm, 0))]
    assert study.combination(rows).trials == ("smooth+wide",)
    # Better than "smooth", "slow" comes first and excludes it.
    rows = [
        row for run in first for row in rows_of(run, 0.7 + (gains | {"slow": 0.05}).get(run.arm, 0))
    ]
    assert study.combination(rows).trials == ("slow+wide",)
    both = [run for run in study.runs(rows) if run.phase == "combine"]
    assert {study.teacher_of(run)[:2] for run in both} == {("main", "real")}
    rows += [row for run in both for row in rows_of(run, 0.8)]
    finals = [run for run in study.runs(rows) if run.phase == "final"]
    assert [run.arm for run in finals[::3]] == ["real", "slow+wide", "plain"]
    assert study.teacher_of(finals[4]) == finals[1]


TAUGHT = """
[[arms]]
name = "taught"
teacher = "real"
temperature = 2.0

[[arms]]
name = "real"
is_float = true

[[tests]]"""


def test_teachers_are_trained_before_those_they_teach(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(models, "resnet20", shallow.network)
    text = TINY.replace("[[tests]]", TAUGHT, 1).replace("seeds = [0, 1, 2]", "seeds = [0]")
    study = written(tmp_path, text)
    output, selection = tmp_path / "runs", Selection(arms=["taught"])
    _, _, taught, real = study.runs()
    theirs = folder_of(study, real, output)

    def busy(*_):
        raise FolderBusyError

    with monkeypatch.context() as patch:
        patch.setattr(making, "create", busy)
        assert carry_out(study, output, selection).startswith("0 runs made, 1 left")
    assert f"the run that teaches it, {theirs.name}, has not ended" in capsys.readouterr().out
    # Also where epochs.csv has the teacher's rows.
    write_rows(study.results / "epochs.csv", rows_of(real, 0.5))
    missing = Selection(arms=["taught"], missing=True)
    assert carry_out(study, output, missing).startswith("2 runs made; all")
    (study.results / "epochs.csv").unlink()
    recipe = json.loads((folder_of(study, taught, output) / "recipe.json").read_text())
    assert recipe["teacher"] == str(theirs)
    assert (theirs / "model.keras").is_file()
    assert not (folder_of(study, taught, output) / "model.keras").exists()
    assert carry_out(study, output, Selection(arms=["taught", "real"])).startswith("0 runs made")
    # Cut off between its last epoch and its model.
    (theirs / "input.json").unlink()
    shutil.rmtree(folder_of(study, taught, output))
    assert carry_out(study, output, selection).startswith("2 runs made")

    moved = output.rename(tmp_path / "moved")
    write_report(study, moved)
    report = (study.results / "report.md").read_text()
    assert "| taught | " in report
    assert "| real | " in report
    kept = json.loads((study.results / "settings.json").read_text())
    assert kept["main taught"]["teacher"] == "real"


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('teacher = "real"', 'teacher = "reel"', "arm 'taught': teacher: 'reel' is no arm; the"),
        ('teacher = "real"', 'teacher = "taught"', "teacher='taught' has a teacher too"),
        ("[recipe]", '[recipe]\nteacher = "real"', "teacher is for arms"),
        ("is_float = true\n", "is_float = true\n" + CHOOSE, "teacher does not go with .choose"),
    ],
)
def test_what_cannot_teach(tmp_path, old, new, message):
    text = TINY.replace("[[tests]]", TAUGHT, 1)
    assert old in text
    with pytest.raises(ValueError, match=message):
        written(tmp_path, text.replace(old, new, 1))


# Rows


def test_rows_are_kept_as_they_are(tmp_path, study):
    path = tmp_path / "results/epochs.csv"
    rows = [Row("main", "a,b", 3, "", 0, val_accuracy=0.7654321, machine="Linux, 2 cores")]
    write_rows(path, rows)
    (read_back,) = read_rows(path)
    assert read_back.val_accuracy == 0.7654321
    assert math.isnan(read_back.loss)
    assert (read_back.run, read_back.machine) == (rows[0].run, "Linux, 2 cores")
    path.write_text(path.read_text() + path.read_text().splitlines()[1] + "\n")
    with pytest.raises(ValueError, match=re.escape(f"{path}, line 3: the epoch is there twice")):
        read_rows(path)
    path.write_text(path.read_text()[:-40])
    with pytest.raises(ValueError, match="line 3"):
        read_rows(path)


def test_merged_rows_lose_nothing():
    here = [Row("main", "a", 0, "", epoch, loss=1) for epoch in range(3)]
    there = [Row("main", "a", 0, "", epoch, loss=2) for epoch in range(3)]
    other = [Row("main", "b", 0, "", 0, loss=2)]
    assert merged(here, there + other) == here + other
    # Of a run that was cut off elsewhere the whole one is taken, not a mixture.
    assert merged(there[:2], here) == here
    assert merged(there, here[:2]) == there


# Reports


def report_of(study, accuracies, seeds=(0, 1, 2)):
    rows = [
        row
        for run in study.runs()
        if run.seed in seeds
        for row in rows_of(run, accuracies[run.arm][run.seed], flips=0.1, beta=2.0)
    ]
    write_rows(study.results / "epochs.csv", rows)
    said = write_report(study, NOTHING)
    return said, (study.results / "report.md").read_text()


@pytest.mark.parametrize(
    ("second", "better", "equal"),
    [
        ([0.60, 0.612, 0.631], "holds", "does not hold"),
        ([0.90, 0.912, 0.931], "does not hold", "does not hold"),
        ([0.80, 0.811, 0.829], "not shown", "holds"),
        ([0.76, 0.84, 0.85], "not shown", "not shown"),
    ],
)
def test_verdicts_also_against_the_claim(study, second, better, equal):
    accuracies = {"pm1": [0.80, 0.81, 0.83], "01": second}
    said, text = report_of(study, accuracies)
    summary = json.loads((study.results / "summary.json").read_text())
    # 0.813 +- 4.3 * 0.015 * sqrt(4 / 3)
    assert [test["verdict"] for test in summary["tests"]] == [better, equal, "holds"]
    assert f"- **{better}**: one is better;" in text
    assert f"{equal}: both are equal;" in said
    assert "No run is missing" in text
    # Every seed is listed, with the mean and its interval.
    low, high = (100 * x for x in stats.t.interval(0.95, 2, 0.81333, stats.sem([0.8, 0.81, 0.83])))
    assert "80.00 (80.00) | 81.00 (81.00) | 83.00 (83.00) | 81.33" in text
    assert f"[{low:.2f} to {high:.2f}]" in text
    assert summary["arms"]["main"]["pm1"]["flips"]["0"] == pytest.approx(0.1 * 2)
    pictures = {path.name: path.stat().st_size for path in study.results.glob("*.png")}
    assert set(pictures) == {"curves.png", "flips.png", "codes.png"}
    assert max(pictures.values()) < 100_000


@pytest.mark.parametrize("seeds", [1, 2])
def test_what_has_no_spread_is_not_shown(tmp_path, seeds):
    text = TINY.replace("seeds = [0, 1, 2]", f"seeds = {[*range(seeds)]}")
    study = written(tmp_path, text)
    said, _ = report_of(study, {"pm1": [0.8] * seeds, "01": [0.7] * seeds})
    said = said.splitlines()[:3]
    assert [line.partition(":")[0] for line in said] == ["not shown"] * 3
    assert all(f" at {seeds} seeds, without a spread to judge by." in line for line in said)


def test_a_peak_of_as_many_runs_as_it_has_parameters(tmp_path):
    arms = "".join(f'[[arms]]\nname = "{x}"\nthreshold = {x}\n' for x in (0.4, 0.5, 0.6))
    peak = '[[tests]]\nkind = "peak"\nsays = "a half"\nsetting = "threshold"\nvalue = 0.5\n'
    text = TINY[: TINY.index("[[arms]]")].replace("[0, 1, 2]", "[0]") + arms + peak
    study = written(tmp_path, text)
    said, _ = report_of(study, {"0.4": [0.7], "0.5": [0.8], "0.6": [0.7]})
    assert said.startswith("not shown: a half; one seed of three arms leaves nothing over")
    assert (study.results / "threshold.png").is_file()


def test_missing_and_diverged_runs_are_said(study):
    _, text = report_of(study, {"pm1": [0.80, 0.81, 0.83], "01": [0.6, 0.6, 0.6]}, seeds=(0, 1))
    assert "2 of its 6 runs are missing" in text
    assert "**not decided**: one is better; of pm1 1 of 3 runs are missing" in text
    assert text.count("| missing |") == 2
    rows = read_rows(study.results / "epochs.csv")
    write_rows(study.results / "epochs.csv", [*rows, Row("main", "01", 2, "", 0)])
    write_report(study, NOTHING)
    text = (study.results / "report.md").read_text()
    assert "| diverged |" in text
    assert "1 of its 6 runs are missing" in text
    # Of a single pair nothing is known but the difference.
    write_rows(study.results / "epochs.csv", [row for row in rows if row.seed == 0])
    write_report(study, NOTHING)
    text = (study.results / "report.md").read_text()
    assert "| 01 | 1 | -20.00 | ? to ? | ? to ? | ? | ? |" in text


def test_rows_of_other_settings_are_refused(study, tmp_path):
    """An edited study would else show its old runs under the new settings."""
    rows = [row for run in study.runs() for row in rows_of(run, 0.5)]
    write_rows(study.results / "epochs.csv", rows)
    write_report(study, NOTHING)
    kept = json.loads((study.results / "settings.json").read_text())
    assert kept["main 01"]["levels"] == [0, 1]
    assert "levels" not in kept["main pm1"]  # the default
    write_report(written(tmp_path, TINY), NOTHING)
    more = written(tmp_path, TINY.replace('name = "01"', 'name = "01"\nkernel_rate = 0.5'))
    other = (
        r"epochs\.csv has runs of arm 01 \(main\) .*\(kernel_rate=1\.0, not 0\.5\): put those back"
    )
    with pytest.raises(ValueError, match=other):
        write_report(more, NOTHING)
    with pytest.raises(ValueError, match=other):
        carry_out(more, tmp_path / "runs", Selection())
    fewer = written(tmp_path, TINY.replace("levels = [0, 1]", ""))
    with pytest.raises(ValueError, match=r"levels=\[0, 1\], not \(-1, 1\)"):
        write_report(fewer, NOTHING)
    # Rows without settings, as of an older release, are taken for those of the study.
    (study.results / "settings.json").unlink()
    write_report(more, NOTHING)
    assert "kernel_rate" in (study.results / "settings.json").read_text()
    for damaged in ("{", "[]", '{"main 01": 3}'):
        (study.results / "settings.json").write_text(damaged)
        with pytest.raises(ValueError, match=r"settings\.json is damaged"):
            write_report(more, NOTHING)


@pytest.mark.parametrize("path", sorted(STUDIES.glob("*.toml")), ids=lambda path: path.stem)
def test_reports_of_the_project_are_made_again(path, tmp_path, monkeypatch):
    monkeypatch.setattr(pictures, "_save", lambda *_: None)
    study, kept = read(Path(shutil.copy(path, tmp_path))), STUDIES / "results" / path.stem
    study.results.mkdir(parents=True)
    for name in ("epochs.csv", "settings.json"):
        shutil.copy(kept / name, study.results)
    write_report(study, NOTHING)
    for name in ("report.md", "epochs.csv", "settings.json"):
        assert (study.results / name).read_text() == (kept / name).read_text()


def test_nothing_to_report(study):
    with pytest.raises(ValueError, match="Nothing of .* has been run"):
        write_report(study, NOTHING)


def test_finals_are_decided_by_what_they_are_the_best_of(tmp_path):
    study = read(STUDIES / "code.toml")
    study = replace(study, path=tmp_path / "code.toml")
    accuracy = {"magnitude": 0.8, "balanced-sign": 0.79, "sign": 0.7}
    rows = []
    for _ in range(2):  # the trials, then the rest
        rows = [
            row
            for run in study.runs(rows)
            for row in rows_of(
                run,
                accuracy[run.arm.rpartition("-")[0]]
                + 0.002 * run.arm.endswith("upper")
                + 0.001 * (run.seed % 3)
                + 0.0001 * len(run.arm) * (run.seed % 2),
            )
        ]
    found = find(study, rows)
    assert found.planned == found.ended == 123
    assert set(found.phases["final"]) == {"magnitude-upper", "balanced-sign-upper", "sign-upper"}
    assert [d.verdict for d in found.decisions] == ["holds"] * 5


# Runs


@pytest.mark.slow
def test_runs_are_made_once(tmp_path, monkeypatch):
    monkeypatch.setattr(models, "resnet20", shallow.network)
    study = written(tmp_path, TINY.replace("seeds = [0, 1, 2]", "seeds = [0]"))
    output = tmp_path / "runs"
    first, second = study.runs()
    folder = folder_of(study, first, output)
    said = carry_out(study, output, Selection(shard=(1, 2)))
    assert said == "1 runs made; all that were asked for are done."
    assert (folder / "history.csv").is_file()
    assert not (folder / "model.tflite").exists()
    assert not folder_of(study, second, output).exists()

    def busy(*_):
        raise FolderBusyError

    with monkeypatch.context() as patch:
        patch.setattr(making, "create", busy)
        assert carry_out(study, output, Selection()).startswith("0 runs made, 1 left")

    def diverge(*_):
        raise FloatingPointError("The loss became nan.")

    monkeypatch.setattr(making, "train", diverge)
    assert carry_out(study, output, Selection(arms=["01"])).startswith("1 runs made; all")
    # Neither is made again.
    assert carry_out(study, output, Selection()).startswith("0 runs made; all")

    rows = collected(study, output)
    assert [(row.arm, row.epoch) for row in rows] == [("pm1", 0), ("pm1", 1), ("01", 0)]
    assert has_diverged(rows[2:])
    assert rows[0].learning_rate == pytest.approx(0.1)
    assert all(0 <= row.val_accuracy <= 1 and row.seconds > 0 for row in rows[:2])
    assert "CPU cores" in rows[0].machine
    assert "2 runs, 2 done" in forecast(study, output, Selection())

    # The first report has no more digits than one from epochs.csv alone.
    assert "made anew" not in write_report(study, output)
    first = (study.results / "summary.json").read_text()
    write_report(study, NOTHING)
    assert (study.results / "summary.json").read_text() == first

    # What epochs.csv has stays, and is held against what was made here.
    foreign = [row._replace(val_accuracy=0.5, machine="elsewhere") for row in rows[:2]]
    write_rows(study.results / "epochs.csv", foreign)
    said = write_report(study, output)
    assert f"pm1: 1 runs made anew here gave {100 * rows[1].val_accuracy:.2f} %" in said
    assert read_rows(study.results / "epochs.csv")[1].machine == "elsewhere"

    # A study that was changed meanwhile does not take old runs for its own.
    changed = written(tmp_path, TINY.replace("batch_size = 16", "batch_size = 8"))
    shutil.rmtree(study.results)
    with pytest.raises(ValueError, match=r"another recipe.*batch_size=16, not 8"):
        carry_out(changed, output, Selection())


def test_a_strategy_is_that_of_the_recipe(tmp_path, monkeypatch):
    monkeypatch.setattr(models, "resnet20", shallow.network)
    used = []
    monkeypatch.setattr(making, "train", lambda *given: used.append(given[3]))
    study = written(tmp_path, TINY.replace("levels = [0, 1]", 'strategy = "mirrored"'))
    carry_out(study, tmp_path / "runs", Selection(seeds=[0]))
    assert [isinstance(strategy, tf.distribute.MirroredStrategy) for strategy in used] == [0, 1]


@pytest.mark.parametrize(("model", "rate"), [("BinaryAlexNet", "0.005"), ("BiRealNet", "")])
def test_learning_rates_are_those_of_the_training(tmp_path, model, rate):
    """Not the official ones, where Larq Zoo has others, or sets them within the optimizer."""
    zoo = f'style = "zoo"\nmodel = "{model}"\nimage_size = 64'
    study = written(tmp_path, TINY.replace("levels = [0, 1]", zoo))
    run = study.runs()[-1]
    folder = folder_of(study, run, tmp_path)
    folder.mkdir(parents=True)
    run.recipe.save(folder / "recipe.json")
    lines = [f"{epoch},1,0.5,{rate}" for epoch in range(2)]
    (folder / "history.csv").write_text("\n".join(["epoch,loss,val_accuracy,lr", *lines]) + "\n")
    rates = [row.learning_rate for row in making.rows_of(study, run, tmp_path)]
    assert rates == pytest.approx([float(rate or "nan")] * 2, nan_ok=True)


def test_forecast_takes_no_measure_of_other_runs(study, tmp_path):
    recipe = study.runs()[0].recipe
    for name, own, header in (
        ("whole", replace(recipe, train_examples=None), "epoch,seconds"),
        ("old", recipe, "epoch,loss"),
        ("ours", recipe, "epoch,seconds"),
    ):
        folder = tmp_path / "runs" / name
        folder.mkdir(parents=True)
        own.save(folder / "recipe.json")
        (folder / "history.csv").write_text(f"{header}\n0,1\n")
    (tmp_path / "runs" / "damaged").mkdir()
    (tmp_path / "runs" / "damaged" / "recipe.json").write_text("{}")
    assert "(median of 1 epochs in" in forecast(study, tmp_path, Selection())


def test_missing_runs_are_those_without_rows(study, tmp_path):
    first, *others = study.runs()
    write_rows(study.results / "epochs.csv", rows_of(first, 0.5))
    missing = [run for run, _ in planned(study, tmp_path, Selection(missing=True))]
    assert missing == others
    # A shard stays what it was, whatever the others have made meanwhile.
    shard = [run for run, _ in planned(study, tmp_path, Selection(shard=(1, 2), missing=True))]
    assert shard == others[1::2]
    assert len(planned(study, tmp_path, Selection())) == 1 + len(others)


def test_shards_and_seeds_take_every_run_once():
    study = read(STUDIES / "levels.toml")
    runs = study.runs()
    shards = [Selection(shard=(i, 3)).of(runs, "main") for i in (1, 2, 3)]
    assert sorted(run[:4] for shard in shards for run in shard) == sorted(r[:4] for r in runs)
    assert {run.seed for run in Selection(seeds=[1, 3]).of(runs, "main")} == {1, 3}
    with pytest.raises(ValueError, match=r"--seeds 9 is not among the seeds of .*levels.toml"):
        Selection(seeds=[0, 9]).check(study)
    with pytest.raises(ValueError, match="--arm pm2 is no arm"):
        Selection(arms=["pm2"]).check(study)


@pytest.mark.parametrize(
    ("arguments", "status", "said"),
    [
        (["--dry-run", "--seeds", "0-1", "--shard", "1/2"], 0, "2 runs, 0 done; the others take"),
        (["--dry-run", "--missing", "--arm", "pm1"], 0, "3 runs, 0 done; the others take"),
        (["--seeds", "1-0"], 2, "write 0-4"),
        (["--shard", "3/2"], 2, "write 1/4"),
        (["--report"], 1, "Nothing of"),
        (["--report", "--arm", "pm1", "--dry-run"], 2, "has been run; leave out --arm, --dry-run."),
        (["--dry-run", "--seeds", "7"], 1, "Error: --seeds 7 is not among the seeds"),
    ],
)
def test_command(study, monkeypatch, arguments, status, said):
    monkeypatch.syspath_prepend(STUDIES)
    command = importlib.import_module("run").main
    result = CliRunner().invoke(command, [str(study.path), *arguments])
    assert (result.exit_code, said in result.output) == (status, True), result.output
    assert len(result.output.splitlines()) < 6
