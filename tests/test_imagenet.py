"""train/imagenet.py and the zookeeper tasks, on encoded photographs."""

import functools
import json
import subprocess
import sys
from pathlib import Path

import click
import larq as lq
import numpy as np
import pytest
import tensorflow as tf
from larq_zoo.training.learning_schedules import CosineDecayWithWarmup, R2BStepSchedule
from zookeeper import configure

from siman_larq import data, zoo
from siman_larq.choices import ZOO_MODELS
from siman_larq.training import Recipe, build_model, imagenet_recipe_for, tasks, train
from siman_larq.training.callbacks import Checkpoints
from siman_larq.training.zoo_recipes import schedule, zoo_defaults, zoo_optimizer

ROOT = Path(__file__).parents[1]
SMALL = {"image_size": 64, "train_examples": 32, "test_examples": 8, "batch_size": 16, "epochs": 2}


def run(*command):
    return subprocess.run(
        [sys.executable, *map(str, command)], capture_output=True, text=True, timeout=500, cwd=ROOT
    )


def rates_of(optimizer):
    """The learning rates at steps."""
    classes = (CosineDecayWithWarmup, R2BStepSchedule)
    config = optimizer.get_config()["learning_rate"]
    schedule = tf.keras.optimizers.schedules.deserialize(
        config, custom_objects={kind.__name__: kind for kind in classes}
    )
    return lambda *steps: [float(schedule(step)) for step in steps]


class TestRecipes:
    def test_official(self):
        recipe = imagenet_recipe_for()
        assert (recipe.model, recipe.dataset) == ("resnet18_imagenet", "imagenet2012")
        assert (recipe.epochs, recipe.batch_size, recipe.weight_decay) == (150, 512, 1e-4)
        assert (recipe.image_size, recipe.clip_start) == (224, 15)
        for epoch in range(150):
            expected = 0.05 * (1 + np.cos(np.pi * epoch / 150))
            assert recipe.learning_rate_at(epoch) == pytest.approx(expected)

    def test_names_of_the_zoo(self):
        assert tuple(zoo.MODELS) == ZOO_MODELS

    def test_zoo(self):
        recipe = imagenet_recipe_for(model="BinaryDenseNet45", style="zoo")
        assert (recipe.epochs, recipe.batch_size) == (125, 384)
        rates = [schedule(recipe)(epoch) for epoch in (0, 79, 80, 100)]
        assert rates == pytest.approx([8e-3, 8e-3, 8e-4, 8e-5])

    def test_decay_of_the_zoo_ends_with_the_last_step(self):
        recipe = imagenet_recipe_for(model="BiRealNet", style="zoo", epochs=3)
        assert schedule(recipe) is None
        optimizer = zoo_optimizer(recipe, steps_per_epoch=10)
        rates = tf.keras.optimizers.schedules.deserialize(optimizer.get_config()["learning_rate"])
        assert [float(rates(step)) for step in (0, 15, 30)] == pytest.approx([5e-3, 2.5e-3, 0])

    def test_last_stages_of_the_zoo(self):
        """Steps of 10 an epoch; R2B's warm-up ends a step early in Larq Zoo."""
        recipe = imagenet_recipe_for(model="RealToBinaryNet", style="zoo")
        assert (recipe.epochs, recipe.batch_size) == (75, 256)
        rates = rates_of(zoo_optimizer(recipe, steps_per_epoch=10))
        assert rates(0, 99, 749) == pytest.approx([0, 2e-4, 0], abs=1e-8)

        recipe = imagenet_recipe_for(model="StrongBaselineNet", style="zoo", batch_size=256)
        assert (recipe.epochs, recipe.batch_size) == (75, 256)
        rates = rates_of(zoo_optimizer(recipe, steps_per_epoch=10))
        expected = [0, 1e-4, 2e-4, 2e-4, 2e-5, 2e-6, 2e-7]
        assert rates(0, 25, 50, 400, 401, 601, 701) == pytest.approx(expected)
        assert schedule(recipe) is None

    @pytest.mark.parametrize("name", ["learning_rate", "warmup_epochs", "weight_decay"])
    def test_what_optimizers_of_the_zoo_have_themselves(self, name):
        with pytest.raises(ValueError, match=f"{name}=1 is for the optimizers of this package"):
            imagenet_recipe_for(model="BiRealNet", style="zoo", **{name: 1})

    def test_models_without_a_recipe_of_the_zoo(self):
        for model in ("resnet18_imagenet", "MeliusNet22"):
            with pytest.raises(ValueError, match=rf"recipe='zoo'.*{model}.*recipe='official'"):
                zoo_defaults(model)

    @pytest.mark.parametrize(
        ("model", "batch_size", "step"), [("RealToBinaryNet", 256, 9), ("StrongBaselineNet", 8, 50)]
    )
    def test_stages_as_tasks(self, model, batch_size, step):
        experiment = getattr(tasks, f"TrainSiMaN{model}")()
        configure(experiment, {"learning_rate": 1e-3, "dataset.name": "fashion_mnist_mini"})
        assert (experiment.epochs, experiment.batch_size) == (75, batch_size)
        recipe = imagenet_recipe_for(model=model, style="zoo", epochs=2)
        rates = rates_of(zoo_optimizer(recipe, 10, experiment))
        assert rates(step) == pytest.approx([1e-3])

    @pytest.mark.parametrize(
        ("model", "field", "value"),
        [
            ("XNORNet", "loss", "mse"),
            ("XNORNet", "use_tensorboard", False),
            ("BiRealNet", "decay_schedule", "linear_cosine"),
            ("QuickNetSmall", "optimizer", "adam"),
            ("RealToBinaryNet", "learning_rate_decay", 0.7),
            ("MeliusNet22", "optimizer", "adam"),
        ],
    )
    def test_fields_that_nothing_uses(self, model, field, value):
        experiment = getattr(tasks, f"TrainSiMaN{model}")()
        configure(experiment, {"dataset.name": "fashion_mnist_mini", field: value})
        with pytest.raises(
            click.ClickException, match=f"{field}={value!r} is not used: the training loop"
        ):
            experiment.run()

    @pytest.mark.parametrize("model", sorted(set(ZOO_MODELS) - {"MeliusNet22"}))
    def test_every_task_of_the_zoo_has_its_optimizer(self, model):
        experiment = getattr(tasks, f"TrainSiMaN{model}")()
        configure(experiment, {"dataset.name": "fashion_mnist_mini"})
        recipe = imagenet_recipe_for(model=model, style="zoo", epochs=2)
        by_epoch = schedule(recipe, experiment)
        optimizer = zoo_optimizer(recipe, 10, experiment)
        assert hasattr(optimizer, "apply_gradients")
        if by_epoch is None and not model.startswith("QuickNet"):
            assert rates_of(optimizer)(0)[0] >= 0

    def test_quicknet_has_an_optimizer_for_each_kind_of_weight(self):
        recipe = imagenet_recipe_for(model="QuickNetSmall", style="zoo", **SMALL)
        model = build_model(recipe, 10, train_count=32)
        assert isinstance(model.optimizer, lq.optimizers.CaseOptimizer)
        assert len(model.optimizer.optimizers) == 2


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["mixed_bfloat16", "mixed_float16"])
def test_mixed_precision_and_xla(tmp_path, precision):
    recipe = Recipe(
        model="resnet8",
        dataset="fashion_mnist_mini",
        precision=precision,
        xla=precision == "mixed_bfloat16",
        epochs=1,
        warmup_epochs=0,
        batch_size=8,
        train_examples=16,
        test_examples=8,
        learning_rate=1e-3,
    )
    images = data.MemorySource(data.load("fashion_mnist_mini", train_examples=16, test_examples=8))
    model = train(recipe, tmp_path, images)
    assert tf.keras.mixed_precision.global_policy().name == "float32"
    assert model.get_layer("layer1.0.conv1").compute_dtype == precision.removeprefix("mixed_")
    assert all(np.isfinite(weight.numpy()).all() for weight in model.weights)


@pytest.mark.slow
def test_two_optimizers_resume(photos, tmp_path, monkeypatch):
    """QuickNet's pair, of which Keras keeps no states by itself."""
    shallow = functools.partial(zoo.QuickNetSmall, section_blocks=(1, 1, 1, 1))
    monkeypatch.setitem(zoo.MODELS, "QuickNetSmall", shallow)
    recipe = imagenet_recipe_for(
        model="QuickNetSmall", style="zoo", dataset="photos", data_dir=str(photos), **SMALL
    )
    images = data.stream("photos", photos, train_examples=32, test_examples=8)
    (tmp_path / "unbroken").mkdir()
    expected = train(recipe, tmp_path / "unbroken", images)

    def stop(self, epoch, logs=None, keep=Checkpoints.on_epoch_end):
        keep(self, epoch, logs)
        raise KeyboardInterrupt

    (tmp_path / "broken").mkdir()
    with monkeypatch.context() as patch:
        patch.setattr(Checkpoints, "on_epoch_end", stop)
        with pytest.raises(KeyboardInterrupt):
            train(recipe, tmp_path / "broken", images)
    resumed = train(recipe, tmp_path / "broken", images)
    for ours, theirs in zip(resumed.weights, expected.weights, strict=True):
        np.testing.assert_array_equal(ours.numpy(), theirs.numpy(), err_msg=ours.name)


@pytest.mark.slow
def test_command(photos, tmp_path):
    folder = tmp_path / "run"
    arguments = ["--dataset", "photos", "--data-dir", photos, "--image-size", "64", "--smoke"]
    arguments += ["--train-examples", "48", "--test-examples", "16", "--run-dir", folder]
    result = run("train/imagenet.py", *arguments)
    assert result.returncode == 0, result.stderr
    assert "top-5, Keras, 16 images" in result.stdout
    figures = json.loads((folder / "report.json").read_text())
    assert len(figures["packed"]) == 16
    assert figures["agreement"] >= 15 / 16
    assert 0 <= figures["keras_accuracy"] <= figures["keras_top5"] <= 1
    other = run("train/imagenet.py", *arguments, "--seed", "3")
    assert other.returncode == 1
    assert "another recipe" in other.stderr


class TestTasks:
    def test_are_listed(self):
        result = run("-m", "siman_larq")
        for model in ZOO_MODELS:
            assert f"train_si_ma_n_{model}".replace("_", "").lower() in (
                (result.stdout + result.stderr).replace("_", "").replace("-", "").lower()
            )

    @pytest.mark.slow
    def test_run_convert_and_go_on(self, photos, tmp_path):
        folder = tmp_path / "run"
        task = ["-m", "siman_larq", "TrainSiMaNQuickNetSmall", "dataset.name=photos", "--smoke"]
        task += ["model.section_blocks=(1,1,1,1)"]  # a shallow one
        task += [f"dataset.data_dir={photos}", "input_shape=(64,64,3)", f"run_dir={folder}"]
        task += ["levels=(0,1)", "dataset.train_examples=32", "dataset.test_examples=8"]
        task += ["model.kernel_constraint=None", "clip_start=0"]
        result = run(*task)
        assert result.returncode == 0, result.stderr
        figures = json.loads((folder / "report.json").read_text())
        assert len(figures["packed"]) == 4
        assert figures["recipe"]["levels"] == [0, 1]
        assert figures["recipe"]["style"] == "zoo"
        again = run(*task)
        assert again.returncode == 0, again.stderr
        assert "epoch 1" not in again.stderr + again.stdout

    def test_absent_data_is_one_clear_message(self, tmp_path):
        result = run("-m", "siman_larq", "TrainSiMaNXNORNet", f"dataset.data_dir={tmp_path}")
        assert result.returncode == 1
        assert "The data set imagenet2012 is not on this machine" in result.stderr
        assert "Traceback" not in result.stderr
