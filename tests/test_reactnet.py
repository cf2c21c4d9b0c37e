"""ReActNet's recipe: Adam with coupled decay, linear schedules, a ResNet of Keras as a teacher."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import shallow
import tensorflow as tf

from siman_larq import check_no_l2, models
from siman_larq.data import prepare
from siman_larq.models.blocks import ChannelShift, RPReLU
from siman_larq.training import (
    CoupledDecayAdam,
    Recipe,
    Teacher,
    applications,
    build_model,
    create,
    imagenet_recipe_for,
)

RNG = np.random.default_rng(0)


def test_adam_with_decay_of_kernels_alone(tmp_path):
    """Against Adam on g + l2 * w, over three steps."""
    layers = [tf.keras.layers.Conv2D(3, 2, name="conv"), tf.keras.layers.BatchNormalization()]
    layers += [tf.keras.layers.Flatten(), tf.keras.layers.Dense(2)]
    model = tf.keras.Sequential([tf.keras.Input((4, 4, 1)), *layers])
    model.compile(CoupledDecayAdam(0.01, l2=0.3), "mse")
    model.save(tmp_path / "model.keras")
    optimizer = tf.keras.models.load_model(tmp_path / "model.keras").optimizer
    assert optimizer.get_config() == model.optimizer.get_config()
    expected = [tf.Variable(weight) for weight in model.trainable_weights]
    adam = tf.keras.optimizers.Adam(0.01, epsilon=1e-8)
    for seed in range(3):
        gradients = [tf.random.stateless_normal(w.shape, [seed, 0]) for w in expected]
        decayed = [
            g + 0.3 * w if w.shape.rank == 4 else g
            for g, w in zip(gradients, expected, strict=True)
        ]
        adam.apply_gradients(zip(decayed, expected, strict=True))
        model.optimizer.apply_gradients(zip(gradients, model.trainable_weights, strict=True))
    for ours, theirs in zip(model.trainable_weights, expected, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-5, err_msg=ours.name)


def test_decay_and_schedule_of_two_steps(monkeypatch):
    monkeypatch.setattr(models, "resnet20", shallow.network)
    settings = {"epochs": 6, "warmup_epochs": 0, "learning_rate": 3e-3, "weight_decay": 5e-6}
    recipe = Recipe("resnet20", style="reactnet", two_steps=True, **settings)
    rates = [recipe.learning_rate_at(epoch) for epoch in range(6)]
    assert rates == pytest.approx([3e-3, 2e-3, 1e-3] * 2)
    first, second = (build_model(recipe, 10, is_real=is_real) for is_real in (True, False))
    assert (first.optimizer.l2, second.optimizer.l2) == (5e-6, 0)
    check_no_l2(second)
    with pytest.raises(ValueError, match=r"CoupledDecayAdam\(l2=5e-06\) on kernel(?s:.*)Leave l2"):
        check_no_l2(first)
    with pytest.raises(ValueError, match=r"ema=0\.9 is for the optimizer of style='official'"):
        Recipe(style="reactnet", ema=0.9)


def tiny(weights=None, input_shape=None, classes=10, classifier_activation=None):
    """What stands for a ResNet of Keras: two layers with weights."""
    layers = tf.keras.layers
    first = layers.Conv2D(6, 3, strides=4, activation="relu", name=f"conv{RNG.integers(10**6)}")
    head = layers.Dense(classes, activation=classifier_activation, name="predictions")
    return tf.keras.Sequential(
        [tf.keras.Input(input_shape), first, layers.GlobalAveragePooling2D(), head]
    )


@pytest.fixture
def weights(monkeypatch, tmp_path):
    """A file of weights of such a one, where Keras has its cache."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setattr(applications, "_RESNETS", {2: "ResNetTiny"})
    monkeypatch.setattr(tf.keras.applications, "ResNetTiny", tiny, raising=False)
    path = Path(applications.CACHED.format("resnettiny")).expanduser()
    path.parent.mkdir(parents=True)
    made = tiny(input_shape=(32, 32, 3))
    made.save_weights(path)
    return path, made


def test_teacher_of_keras_applications(weights):
    """Its answers are those to pixels as Keras Applications prepares them."""
    path, network = weights
    pixels = RNG.integers(0, 256, (5, 32, 32, 3), np.uint8)
    expected = network(tf.keras.applications.resnet.preprocess_input(pixels.astype("float32")))
    found = applications.resnet(path, (32, 32, 3), 10)(prepare(pixels))
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-3)
    assert np.ptp(expected) > 1


def test_what_is_no_teacher(weights, tmp_path):
    path, _ = weights
    student = tiny(input_shape=(32, 32, 3), classes=7)
    with pytest.raises(ValueError, match=r"does not fit ResNetTiny for 7 classes \(.*same data"):
        Teacher(str(path)).teach(student)
    tf.keras.Sequential([tf.keras.Input((3,)), tf.keras.layers.Dense(2)]).save_weights(
        tmp_path / "other.h5"
    )
    with pytest.raises(ValueError, match=r"other.h5' holds 1 layers with weights, and is none of"):
        Teacher(str(tmp_path / "other.h5"))
    (tmp_path / "cut.h5").write_bytes(path.read_bytes()[:1000])
    with pytest.raises(ValueError, match=r"cut.h5' is no file of Keras's weights \(.*give one of"):
        Teacher(str(tmp_path / "cut.h5"))


def test_recipe(weights):
    recipe = imagenet_recipe_for(style="reactnet")
    assert (recipe.model, recipe.epochs, recipe.batch_size) == ("resnet18_imagenet", 256, 512)
    assert (recipe.learning_rate, recipe.weight_decay) == (2.5e-3, 5e-6)
    assert (recipe.two_steps, recipe.rprelu, recipe.channel_shift) == (True, True, True)
    assert recipe.teacher == str(weights[0])
    for settings in ({"dataset": "photos"}, {"label_smoothing": 0.1}):
        assert imagenet_recipe_for(style="reactnet", **settings).teacher is None
    assert imagenet_recipe_for().teacher is None
    zoo = imagenet_recipe_for(style="reactnet", model="BiRealNet", teacher="runs/x")
    assert (zoo.two_steps, zoo.rprelu, Path(zoo.teacher).name) == (True, False, "x")
    weights[0].unlink()
    assert imagenet_recipe_for(style="reactnet").teacher is None


def shallow_imagenet(input_shape, num_classes, conv, activation):
    """What stands for ResNet-18, whose graph takes half a minute to trace in each step."""
    layers = tf.keras.layers
    image = layers.Input(input_shape)
    x = layers.BatchNormalization()(layers.Conv2D(8, 3, strides=4)(image))
    x = activation("nonlinear")(layers.BatchNormalization()(conv(16, 3, name="binary")(x)))
    x = layers.Dense(num_classes)(layers.GlobalAveragePooling2D()(x))
    return tf.keras.Model(image, x, name="resnet18_imagenet")


@pytest.mark.slow
def test_on_photos(photos, weights, tmp_path, monkeypatch, capsys):
    """Trained in both steps, converted and verified."""
    monkeypatch.setattr(models, "resnet18_imagenet", shallow_imagenet)
    settings = {"image_size": 32, "train_examples": 32, "test_examples": 8}
    settings |= {"style": "reactnet", "dataset": "photos", "data_dir": str(photos)}
    settings |= {"erasing": 0.5, "teacher": str(weights[0])}
    recipe = imagenet_recipe_for(smoke=True, **settings)
    create(recipe, tmp_path, tmp_path / "run").carry_out()
    assert "No teacher" not in capsys.readouterr().out
    figures = json.loads((tmp_path / "run/report.json").read_text())
    assert figures["packed"] == ["binary"]
    assert figures["agreement"] == 1
    layers = [
        type(layer) for layer in tf.keras.models.load_model(tmp_path / "run/model.keras").layers
    ]
    assert {RPReLU, ChannelShift} < set(layers)
    create(replace(recipe, teacher=None), tmp_path)
    assert "No teacher is at hand, so this run learns from" in capsys.readouterr().out
