"""Training, killing and resuming, through the command line and the package."""

import csv
import json
import os
import shlex
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from siman_larq import models
from siman_larq.cli.train import train_cifar
from siman_larq.files import write_atomically
from siman_larq.studies.reading import read
from siman_larq.studies.rows import read_rows
from siman_larq.training import CoupledDecaySGD, Recipe, binary_variables, recipe_for

ROOT = Path(__file__).parents[1]
COMMAND = [sys.executable, str(ROOT / "train" / "cifar.py")]
SMALL = ["--dataset", "fashion_mnist_mini", "--train-examples", "128", "--test-examples", "50"]
SMALL += ["--epochs", "4", "--batch-size", "16", "--warmup-epochs", "0", "--seed", "5"]
SMALL += ["--model", "resnet8"]


def run(*arguments, **kwargs):
    return subprocess.run(
        [*COMMAND, *map(str, arguments)], capture_output=True, text=True, timeout=300, **kwargs
    )


def only_folder(parent):
    (folder,) = [path for path in Path(parent).iterdir() if path.is_dir()]
    return folder


def final_weights(folder):
    reader = tf.train.load_checkpoint(str(folder / "checkpoints"))
    names = sorted(n for n in reader.get_variable_to_shape_map() if "model" in n or "epochs" in n)
    return {name: reader.get_tensor(name) for name in names}


def stopped(arguments, parent, checkpoint, signal_number):
    """Exit status and output of a run that is stopped when it has a checkpoint."""
    process = subprocess.Popen(
        [*COMMAND, *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=os.environ | {"PYTHONUNBUFFERED": "1"},
        # A shell that runs the tests in the background makes them ignore it, and they pass that on.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    deadline = time.time() + 240
    while not list(parent.glob(f"*/checkpoints/ckpt-{checkpoint}.index")):
        assert process.poll() is None, "the run ended before it could be stopped"
        assert time.time() < deadline
        time.sleep(0.01)
    process.send_signal(signal_number)
    printed, _ = process.communicate(timeout=60)
    return process.returncode, printed


class TestRecipe:
    def test_official_schedule(self):
        recipe = recipe_for("cifar10")
        assert (recipe.epochs, recipe.batch_size, recipe.weight_decay) == (400, 256, 5e-4)
        for epoch in range(400):
            expected = 0.05 * (1 + np.cos(np.pi * (epoch - 4) / 396))
            if epoch < 5:
                expected = 0.1 * (epoch + 1) / 5
            assert recipe.learning_rate_at(epoch) == pytest.approx(expected)

    def test_no_warmup_is_plain_cosine(self):
        recipe = recipe_for("fashion_mnist", epochs=12, warmup_epochs=0)
        assert recipe.learning_rate_at(0) == pytest.approx(0.1)
        assert recipe.learning_rate_at(6) == pytest.approx(0.05)

    def test_best(self):
        """What the study found, over the defaults of the data set and under one's own settings."""
        study = read(ROOT / "studies" / "recipe.toml")
        found = study.combination(read_rows(study.results / "epochs.csv")).best
        settings = study.arm(found).settings
        assert settings
        for dataset in ("cifar10", "folder:pictures"):
            official = recipe_for(dataset)
            assert recipe_for(dataset, recipe="best") == replace(official, **settings) != official
        official = recipe_for("fashion_mnist", epochs=12, seed=3)
        best = recipe_for("fashion_mnist", recipe="best", epochs=12, seed=3)
        assert best == replace(official, **settings) != official
        told = " ".join(f"--{name.replace('_', '-')} {value}" for name, value in settings.items())
        help_of = {option.name: getattr(option, "help", "") for option in train_cifar.params}
        assert f" {told}. " in help_of["recipe"]
        own = {name: getattr(official, name) for name in settings}
        assert recipe_for("fashion_mnist", recipe="best", epochs=12, seed=3, **own) == official
        assert recipe_for("fashion_mnist", recipe="official", epochs=12, seed=3) == official
        with pytest.raises(ValueError, match="recipe='mine' is unknown; use one of official, best"):
            recipe_for("fashion_mnist", recipe="mine")

    def test_file_round_trip(self, tmp_path):
        recipe = recipe_for("fashion_mnist_mini", seed=9, levels=(0, 1), threshold=0.3)
        recipe.save(tmp_path / "recipe.json")
        assert Recipe.load(tmp_path / "recipe.json") == recipe
        (tmp_path / "recipe.json").write_text('{"model": ')
        with pytest.raises(ValueError, match=r"recipe\.json is not a recipe"):
            Recipe.load(tmp_path / "recipe.json")

    @pytest.mark.parametrize(
        ("settings", "message"),
        [
            ({"model": "resnet21"}, "resnet21.*resnet20"),
            ({"epochs": 3, "warmup_epochs": 3}, "warmup_epochs=3"),
            ({"batch_size": 0}, "batch_size=0"),
            ({"learning_rate": 0.0}, "learning_rate=0"),
            ({"learning_rate": float("nan")}, "learning_rate=nan must be a finite"),
            ({"weight_decay": float("inf")}, "weight_decay=inf must be a finite"),
        ],
    )
    def test_bad_settings(self, settings, message):
        with pytest.raises(ValueError, match=message):
            recipe_for("cifar10", **settings)


class TestOptimizer:
    def test_decay_is_coupled_and_spares_binary_weights(self):
        """Against the recurrence of PyTorch's SGD, over three steps."""
        free, spared = tf.Variable([1.0, -2.0]), tf.Variable([1.0, -2.0])
        optimizer = CoupledDecaySGD(0.1, momentum=0.9, l2=0.5)
        optimizer.exclude([spared])
        gradient = np.array([0.3, 0.1], np.float32)
        for variable, l2 in ((free, 0.5), (spared, 0.0)):
            weights, velocity = np.array([1.0, -2.0]), np.zeros(2)
            sgd = CoupledDecaySGD.from_config(optimizer.get_config())
            sgd.exclude([spared])
            for _ in range(3):
                sgd.apply_gradients([(tf.constant(gradient), variable)])
                velocity = 0.9 * velocity + gradient + l2 * weights
                weights = weights - 0.1 * velocity
            np.testing.assert_allclose(variable.numpy(), weights, rtol=1e-5)

    @pytest.mark.parametrize(("name", "layers"), [("resnet20", 18), ("resnet18", 19)])
    def test_binary_variables_are_found_by_layer(self, name, layers):
        model = getattr(models, name)()
        found = {id(variable) for variable in binary_variables(model)}
        assert len(found) == 2 * layers
        assert found <= {id(variable) for variable in model.trainable_variables}


def test_atomic_write_keeps_the_old_file_when_it_fails(tmp_path):
    write_atomically(tmp_path / "a", "old")
    with pytest.raises(TypeError):
        write_atomically(tmp_path / "a", None)
    assert (tmp_path / "a").read_text() == "old"


class TestCommandLine:
    def test_absent_data_is_one_clear_message(self, tmp_path):
        result = run("--dataset", "cifar10", "--data-dir", tmp_path, "--output-dir", tmp_path)
        assert result.returncode == 1
        assert "Traceback" not in result.stderr
        assert "tfds.load" in result.stderr
        assert "fashion_mnist_mini" in result.stderr
        assert list(tmp_path.iterdir()) == []

    def test_resume_of_no_run(self, tmp_path):
        result = run("--resume", tmp_path)
        assert result.returncode == 1
        assert "no run folder" in result.stderr
        result = run("--resume", tmp_path, "--epochs", "3")
        assert "leave out --epochs" in result.stderr


@pytest.mark.slow
class TestKilledRun:
    @pytest.fixture(scope="class")
    def unbroken(self, tmp_path_factory):
        parent = tmp_path_factory.mktemp("unbroken")
        result = run(*SMALL, "--output-dir", parent)
        assert result.returncode == 0, result.stderr
        assert "packed binary layers" in result.stdout
        return only_folder(parent)

    def test_leaves_everything(self, unbroken):
        files = {path.name for path in unbroken.iterdir()}
        assert files >= {
            "recipe.json", "history.csv", "model.keras", "model.tflite", "report.json",
            "report.md", "input.json", "curves.png", "weights.png", "tensorboard", "checkpoints",
        }  # fmt: skip
        assert not [name for name in files if "partial" in name]
        figures = json.loads((unbroken / "report.json").read_text())
        assert len(figures["packed"]) == 6
        assert figures["size_bytes"] == (unbroken / "model.tflite").stat().st_size
        assert "siman_larq" in sys.modules
        model = tf.keras.models.load_model(unbroken / "model.keras")
        assert model.name == "resnet8"

    def test_resumes_to_the_same_weights(self, unbroken, tmp_path):
        """Ctrl-C in the second epoch, then a kill in the fourth."""
        status, printed = stopped([*SMALL, "--output-dir", tmp_path], tmp_path, 1, signal.SIGINT)
        folder = only_folder(tmp_path)
        assert status == 130, printed
        assert f"To go on: {shlex.join([*COMMAND, '--resume', str(folder)])}\n" in printed
        status, _ = stopped(["--resume", folder], tmp_path, 3, signal.SIGKILL)
        assert status == -signal.SIGKILL
        assert not (folder / "report.json").exists()

        result = run("--resume", folder)
        assert result.returncode == 0, result.stderr
        expected, resumed = final_weights(unbroken), final_weights(folder)
        assert set(resumed) == set(expected)
        assert len(expected) > 50
        for name, value in expected.items():
            np.testing.assert_array_equal(resumed[name], value, err_msg=name)
        for path in (unbroken, folder):
            with open(path / "history.csv", newline="") as file:
                assert [row["epoch"] for row in csv.DictReader(file)] == ["0", "1", "2", "3"]
        # Also which codes never flipped since the beginning.
        assert (folder / "codes.csv").read_text() == (unbroken / "codes.csv").read_text()
