"""Studies on a GPU: an epoch as one program of XLA is an epoch of `siman_larq.training`."""

import csv
import dataclasses
import json
import shutil
import sys
from pathlib import Path

import click
import numpy as np
import pytest
import tensorflow as tf

from siman_larq import SiMaNConv2D, data, order_statistics
from siman_larq.studies import carry_out
from siman_larq.studies.findings import find
from siman_larq.studies.plan import PlannedRun
from siman_larq.studies.reading import read
from siman_larq.studies.rows import read_rows
from siman_larq.studies.settings import settings_of
from siman_larq.training import network, recipe_for, train

sys.path.append(str(Path(__file__).resolve().parents[1] / "studies" / "compiled"))

import collect
import compute
import export
import selection
from epoch import Epoch


@pytest.fixture
def recipe(monkeypatch):
    def tiny(recipe, num_classes, is_real):
        image = tf.keras.layers.Input([28, 28, 3])
        x = tf.keras.layers.Conv2D(8, 5, strides=5, kernel_initializer="he_normal")(image)
        x = tf.keras.layers.BatchNormalization(momentum=0.9)(x)
        x = SiMaNConv2D(8, 3, kernel_initializer="he_normal")(x)
        x = tf.keras.layers.BatchNormalization(momentum=0.9)(x)
        x = tf.keras.layers.GlobalAveragePooling2D()(x)
        return tf.keras.Model(image, tf.keras.layers.Dense(num_classes)(x))

    monkeypatch.setattr(network, "_network", tiny)
    return recipe_for(
        "fashion_mnist_mini",
        epochs=1,
        batch_size=32,
        train_examples=96,
        test_examples=250,
        image_size=28,
        seed=3,
    )


def test_order_statistics_are_equal():
    generator = np.random.default_rng(0)
    for digits in (1, 8):
        # With ties, and without.
        x = tf.constant(np.round(generator.normal(size=(4, 50)), digits), tf.float32)
        for k in (1, 17, 50):
            assert np.array_equal(
                selection.kth_smallest(x, k), order_statistics.kth_smallest(x, tf.constant(k))
            )
        for k in (1, 100, 199):
            assert np.array_equal(
                selection.kth_smallest_overall(tf.abs(x), tf.constant(k)),
                np.sort(np.abs(x).ravel())[k - 1 : k + 1],
            )


def test_an_epoch_is_the_same(recipe, tmp_path):
    images = data.load("fashion_mnist_mini", train_examples=96, test_examples=250)
    model = train(recipe, tmp_path, data.MemorySource(images))
    (row,) = csv.DictReader((tmp_path / "history.csv").open())

    epoch = Epoch(recipe, images)
    epoch.flips.begin()
    epoch.traced()
    arrays = (getattr(images, name) for name in export.IMAGES)
    scalars = np.int64(3), np.int64(0), np.float32(recipe.learning_rate_at(0)), np.float32(15)
    figures, right, _ = epoch.function(*map(tf.constant, (*arrays, *scalars)))
    loss, accuracy, val_loss, flips = figures.numpy()
    assert loss == pytest.approx(float(row["loss"]), rel=1e-4)
    assert accuracy == pytest.approx(float(row["accuracy"]), abs=1e-6)
    assert val_loss == pytest.approx(float(row["val_loss"]), rel=1e-3)
    assert np.mean(right) == pytest.approx(float(row["val_accuracy"]), abs=0.01)
    assert flips / epoch.flips.weights == pytest.approx(float(row["flips"]), abs=0.01)
    assert flips > 0
    for ours, expected in zip(epoch.model.get_weights(), model.get_weights(), strict=True):
        np.testing.assert_allclose(ours, expected, atol=2e-3)


def test_a_recipe_that_is_trained_otherwise_is_refused(recipe):
    images = data.load("fashion_mnist_mini", train_examples=96, test_examples=100)
    with pytest.raises(ValueError, match="250"):
        Epoch(recipe, images)


@pytest.fixture
def bundle(tmp_path, monkeypatch):
    monkeypatch.setattr(export.Bundle, "_program", lambda *_, **__: "p")
    monkeypatch.setattr(export.Bundle, "_beginning", lambda *_: [])
    made = export.Bundle(tmp_path / "bundle")
    made._epochs["p"] = None
    return made


def added(bundle, arm, recipe):
    bundle.add("s", PlannedRun("main", arm, recipe.seed, "", recipe))


def test_a_bundle_has_the_images_of_all_its_runs(bundle):
    recipe = recipe_for("fashion_mnist_mini", epochs=2, train_examples=96)
    added(bundle, "a", recipe)
    added(bundle, "b", dataclasses.replace(recipe, held_out=500, train_examples=None))
    present = len(bundle._all["train_images"])
    assert [job["count"] for job in bundle.jobs] == [96, present - 500]
    with pytest.raises(ValueError, match="Two runs of 's' have the arm 'a' and the seed 0"):
        added(bundle, "a", dataclasses.replace(recipe, kernel_rate=2.0))
    for other, message in (
        ({"test_examples": 250}, "a run with .*, test_examples=250.* are not among those of the"),
        ({"test_examples": 250, "held_out": 500}, "without test_examples beside them"),
        ({"held_out": len(bundle._all["test_images"]) + 1}, "no more held-out images than test"),
        ({"held_out": present - 90}, "train_examples=96 and held_out=.* overlap"),
    ):
        with pytest.raises(ValueError, match=message):
            added(bundle, "c", dataclasses.replace(recipe, **other))
    assert len(bundle.jobs) == 2


def test_a_bundle_has_one_split_of_a_folder_of_pictures(bundle, tmp_path):
    for i in range(20):
        pixels = tf.fill([8, 8, 3], tf.cast(i, tf.uint8))
        tf.io.write_file(f"{tmp_path}/{'ab'[i % 2]}/{i}.png", tf.io.encode_png(pixels))
    shutil.rmtree(tmp_path / "bundle")
    recipe = recipe_for(f"folder:{tmp_path}", epochs=2, batch_size=4)
    added(bundle, "a", recipe)
    with pytest.raises(ValueError, match=r"a run with dataset='folder:.*seed=1 are not among"):
        added(bundle, "a", dataclasses.replace(recipe, seed=1))


ONE = """
title = "One"
claim = "It is the best."
test = "t-test"
seeds = [0, 1]

[recipe]
dataset = "fashion_mnist_mini"
train_examples = 10
epochs = 2
batch_size = 10
held_out = 10
warmup_epochs = 0
kernel_rate = 3.0

[[arms]]
name = "a"

[[tests]]
kind = "predicted"
says = "it is as good as the others'"
arm = "a"
value = 0.85
"""


def test_what_teaches_or_is_taught_is_left_out(tmp_path, monkeypatch, capsys):
    taught = '[[arms]]\nname = "taught"\nteacher = "real"\n\n'
    real = '[[arms]]\nname = "real"\nis_float = true\n\n[[tests]]'
    text = ONE.replace("kernel_rate = 3.0\n", "").replace("[[tests]]", taught + real)
    (tmp_path / "one.toml").write_text(text)
    added = []
    monkeypatch.setattr(export.Bundle, "add", lambda self, study, run: added.append(run.arm))
    arguments = [str(tmp_path / "one.toml"), "--output", str(tmp_path / "bundle")]
    export.main(arguments, standalone_mode=False)
    assert added == ["a", "a"]
    assert "as they teach or are taught: real, taught. Make them here" in capsys.readouterr().out


class Constant:
    """In place of a program: every epoch is the same."""

    machine = "a test"

    def __init__(self):
        self.about = {"weights": 1, "binary_weights": 4}
        self.about |= {"kernels": [0], "codes": [1], "moved": [2]}

    def place(self, arrays):
        return list(arrays)

    def epoch(self, images, state, *scalars):
        return [np.array([1.0, 0.5, 2.0, 2.0]), np.arange(len(images[2])) < 5, *state]


@pytest.fixture
def lines(tmp_path):
    """What comes back of two runs of a study, as JSON lines."""
    (tmp_path / "one.toml").write_text(ONE)
    images = {name: np.zeros([20, 1]) for name in export.IMAGES}
    arrays = {
        "w": np.array([[3.0], [-1], [2], [0]]),
        "c": np.array([[1.0], [-1], [1], [-1]]),
        "m": np.array([1.0, 0, 0, 0]),
    }
    job = {"programs": ["p", "p"], "study": "one", "phase": "main", "arm": "a", "setting": ""}
    job |= {"rates": [0.1, 0.05], "clips": [0, 0], "count": 10, "held_out": 10, "every": 1}
    job |= {"state": ["w", "c", "m"], "keep": True, "counts_flips": True}
    out = tmp_path / "rows.jsonl"
    for run in read(tmp_path / "one.toml").runs(()):
        given = job | {"seed": run.seed, "settings": settings_of(run.recipe)}
        compute.carry_out(given, {"p": Constant()}, images, arrays, out)
    return out.read_text().splitlines()


def collected(tmp_path, lines):
    (tmp_path / "rows.jsonl").write_text("\n".join(lines) + "\n")
    collect.main([str(tmp_path / "rows.jsonl"), "--studies", str(tmp_path)], standalone_mode=False)
    return read_rows(tmp_path / "results" / "one" / "epochs.csv")


def test_rows_come_back(lines, tmp_path):
    rows = collected(tmp_path, lines[:3])  # the second run was cut off
    assert [(row.seed, row.epoch) for row in rows] == [(0, 0), (0, 1)]
    last = rows[-1]
    assert (last.loss, last.val_accuracy, last.flips, last.never_flipped) == (1, 0.5, 0.5, 0.75)
    assert last.entropy == 1
    assert np.load(tmp_path / "weights-one-main-a-0.npz")["arr_0"].shape == (4, 1)
    assert json.loads(lines[0])["val_loss"] is None
    assert len(collected(tmp_path, lines)) == 4


def test_a_run_that_was_cut_off_begins_anew(lines, tmp_path, capsys):
    first, second = lines[:2], lines[2:]
    # Several workers write at once, and what was computed twice is there twice.
    mixed = [first[0], second[0], *first, *second, *lines]
    rows = collected(tmp_path, mixed)
    assert [(row.seed, row.epoch) for row in rows] == [(0, 0), (0, 1), (1, 0), (1, 1)]
    assert capsys.readouterr().out.endswith(": 2 runs\n")
    shutil.rmtree(tmp_path / "results")
    # Two halves are no run, which every later command would trip over.
    rows = collected(tmp_path, [first[0], first[0], *second])
    assert [(row.seed, row.epoch) for row in rows] == [(1, 0), (1, 1)]
    assert ": 1 runs, 1 left out that were cut off\n" in capsys.readouterr().out


@pytest.mark.parametrize("loss", [np.nan, np.inf])
def test_a_run_that_diverged_comes_back_as_such(lines, tmp_path, loss):
    """Its accuracy, that of chance, is no result."""
    last = json.dumps(json.loads(lines[0]) | {"loss": loss, "val_accuracy": 0.1})
    rows = collected(tmp_path, [*lines[2:], last])
    assert len(rows) == 3
    found = find(read(tmp_path / "one.toml"), rows)
    assert found.phases["main"]["a"].diverged == (0,)
    assert (found.ended, found.decisions[0].because) == (2, "a diverged at seed 0")


def test_a_line_that_was_cut_off(lines, tmp_path, capsys):
    out = tmp_path / "rows.jsonl"
    assert len(collected(tmp_path, [*lines, lines[0][:30]])) == 4
    assert f"{out}, line 5: left out, because it was cut off." in capsys.readouterr().out
    # The next row is not spoilt by what a killed worker left of a line.
    out.write_text("\n".join(lines)[:-30])
    compute.write(out, {"epoch": 0})
    assert [json.loads(line) for line in out.read_text().splitlines()[3:]] == [{"epoch": 0}]
    with pytest.raises(click.ClickException, match=r"line 2 is no row of compute.py .*take that"):
        collected(tmp_path, [lines[0], lines[0][:30], *lines])


@pytest.mark.parametrize(
    ("given", "lacking"), [([], "recipe"), (["--recipe", "one.toml"], "weights")]
)
def test_a_single_run_needs_recipe_and_weights(lines, tmp_path, monkeypatch, given, lacking):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(click.UsageError, match=f"--run needs --{lacking} too"):
        collect.main(["rows.jsonl", "--run", "new", *given], standalone_mode=False)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("kernel_rate = 3.0\n", "", r"Arm a \(main\), seed 0, .*\(.*kernel.rate.*3\.0"),
        ("seeds = [0, 1]", "seeds = [0, 2]", r"has no run of arm a \(main\) with seed 1"),
    ],
    ids=["setting", "seed"],
)
def test_rows_of_a_study_that_was_edited_do_not_come_back(lines, tmp_path, old, new, message):
    """They would be shown as runs of what the study says now."""
    (tmp_path / "one.toml").write_text(ONE.replace(old, new))
    with pytest.raises(click.ClickException, match=message):
        collected(tmp_path, lines)
    assert not (tmp_path / "results").exists()


def test_a_study_that_is_edited_later_does_not_show_them(lines, tmp_path):
    collected(tmp_path, lines)
    (tmp_path / "one.toml").write_text(ONE.replace("kernel_rate = 3.0\n", ""))
    with pytest.raises(ValueError, match="kernel_rate"):
        carry_out.collected(read(tmp_path / "one.toml"), tmp_path / "runs")


def test_a_single_run_comes_back_under_its_recipe_alone(recipe, lines, tmp_path):
    row = json.loads(lines[0]) | {"arm": recipe.model, "seed": recipe.seed, "epochs": 1}
    row["settings"] = settings_of(recipe)
    other = dataclasses.replace(recipe, kernel_rate=3.0)
    with pytest.raises(click.ClickException, match=r"kernel_rate=1\.0, not 3\.0"):
        collect.make_run(other, tmp_path / "no.npz", [row], tmp_path / "run")
    row |= {"loss": float("nan")}
    with pytest.raises(click.ClickException, match="The run diverged"):
        collect.make_run(recipe, tmp_path / "no.npz", [row], tmp_path / "run")
    assert not (tmp_path / "run").exists()
