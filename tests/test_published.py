"""Trained networks that come with the package, and how they get into it."""

import dataclasses
import hashlib
import json
import shlex

import numpy as np
import pytest
import tensorflow as tf
from click.testing import CliRunner

import siman_larq
import siman_larq_cli
from siman_larq import models, published
from siman_larq.cli.train import _typed, train_cifar
from siman_larq.conversion import read_input_settings
from siman_larq.models.variants import variant
from siman_larq.published import Published
from siman_larq.training import Recipe, recipe_for
from tools.publish import command_of, publish

SETTINGS = {"rprelu": True, "levels": (0, 1), "centred": True, "threshold": "angle"}


def command(*arguments):
    return CliRunner().invoke(siman_larq_cli.main, ["published", *map(str, arguments)])


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A folder of the package with one network, which is other than by default."""
    folder = tmp_path_factory.mktemp("published")
    model = variant("resnet20", (8, 8, 3), 4, **SETTINGS)
    siman_larq.save_binary(model, folder / "resnet20-made.npz")
    record = Published(
        network="resnet20",
        weights="made",
        sha256=hashlib.sha256((folder / "resnet20-made.npz").read_bytes()).hexdigest(),
        input_shape=(8, 8, 3),
        num_classes=4,
        input_settings={"mean": [0.5], "std": [0.25], "class_names": list("abcd")},
        recipe=dataclasses.asdict(recipe_for("fashion_mnist_mini", **SETTINGS)),
        train_images=12345,
        test_images=1000,
        keras_accuracy=0.9123,
        tflite_accuracy=0.9122,
        agreement=0.9987,
        tflite_bytes=60_000,
        data="made up",
        data_licence="none",
        licence="Apache-2.0",
    )
    (folder / "resnet20-made.json").write_text(json.dumps(dataclasses.asdict(record)))
    return folder, model


@pytest.fixture
def package(made, monkeypatch):
    monkeypatch.setattr(published, "FOLDER", made[0])
    return made[0]


def test_a_network_is_built_as_it_was_trained(made, package):
    model = models.resnet20((8, 8, 3), 4, weights="made")
    images = tf.random.normal([4, 8, 8, 3])
    np.testing.assert_array_equal(model(images), made[1](images))


@pytest.mark.parametrize(
    ("network", "arguments", "sentence"),
    [
        ("resnet20", {"weights": "imagenet"}, "'imagenet' are unknown; there are 'made', and None"),
        ("vgg_small", {"weights": "made"}, "'made' are unknown; there are none for it"),
        ("resnet20", {}, "are for input_shape=(8, 8, 3) and num_classes=4, not (32, 32, 3) and 10"),
        ("resnet20", {"input_shape": (8, 8, 3)}, "num_classes=4, not (8, 8, 3) and 10; leave"),
        (
            "resnet20",
            {"input_shape": (8, 8, 3), "num_classes": 4, "conv": tf.keras.layers.Conv2D},
            "come with the layers that they were trained in; leave out conv.",
        ),
    ],
)
@pytest.mark.usefixtures("package")
def test_what_does_not_fit(network, arguments, sentence):
    with pytest.raises(ValueError, match="weights=") as error:
        getattr(models, network)(**{"weights": "made", **arguments})
    assert str(error.value).startswith(f"models.{network}: weights=")
    assert sentence in str(error.value)


def test_a_file_that_is_another(package, tmp_path, monkeypatch):
    monkeypatch.setattr(published, "FOLDER", tmp_path)
    for path in package.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    with open(tmp_path / "resnet20-made.npz", "ab") as file:
        file.write(b"1")
    with pytest.raises(ValueError, match="is not the file that came with siman-larq"):
        models.resnet20((8, 8, 3), 4, weights="made")


def test_the_command(package, tmp_path, monkeypatch):
    printed = command().stdout
    assert "right            91.23% of 1,000 test images in Keras, 91.22% in the 1-bit" in printed
    assert "models.resnet20(weights='made')" in printed
    assert command("resnet20-made").stdout == printed
    taken = tmp_path / "model.tflite"
    taken.write_text("mine")
    for arguments, sentence in (
        (["x"], "No trained network is called 'x'; there are resnet20-made."),
        (["--output", taken], "Give the name of a network beside --output."),
        (["resnet20-made", "-o", taken], f"{taken} exists; give another -o, or --overwrite."),
    ):
        result = command(*arguments)
        assert (result.exit_code, result.stderr) == (1, f"Error: {sentence}\n")
    assert taken.read_text() == "mine"
    monkeypatch.setattr(published, "FOLDER", tmp_path)
    assert command().stdout == "There are none in this version.\n"


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"model": "vgg_small", "epochs": 7, "seed": 3, "warmup_epochs": 0, "erasing": 0.25},
        {"levels": (0, 1), "centred": True, "threshold": 0.3, "train_examples": 100},
        {"epochs": 200, "two_steps": True, "kernel_optimizer": "adam", "kernel_rate": 0.01},
        {"recipe": "best", "epochs": 12},
    ],
)
def test_the_command_that_repeats_a_training(settings):
    recipe = recipe_for("fashion_mnist", **settings)
    program, name, *words = shlex.split(command_of(recipe))
    assert (program, name) == ("siman-larq", "train-cifar")
    given = _typed(train_cifar.make_context(name, words).params)
    known = {field.name for field in dataclasses.fields(recipe)}
    again = recipe_for(**{key: value for key, value in given.items() if key in known})
    assert again == recipe


def test_a_training_that_no_command_repeats():
    with pytest.raises(ValueError, match=r"momentum=0\.5 is no option of train-cifar, so no comm"):
        command_of(recipe_for("fashion_mnist", momentum=0.5))


def reported(recipe, folder, model, images, trained_on=None):
    """In place of `siman_larq.training.report.finish`, whose figures take their time."""
    (folder / "model.tflite").write_bytes(siman_larq.convert(model))
    for name in ("report.md", "curves.png", "model.keras"):
        (folder / name).write_text(str(images.train_count))
    assert recipe == Recipe.load(folder / "recipe.json")
    return "the table"


def test_other_images_than_it_was_trained_on(tmp_path):
    recipe_for("fashion_mnist_mini", train_examples=64).save(tmp_path / "recipe.json")
    tf.keras.Sequential([tf.keras.Input((32, 32, 3))]).save(tmp_path / "model.keras")
    began = {"fingerprint": "", "train_images": 63, "test_images": 1000, "class_names": ["a"]}
    (tmp_path / "data.json").write_text(json.dumps(began))
    with pytest.raises(ValueError, match="began with 63 pictures to train"):
        publish(tmp_path, "resnet20-mini", [])


@pytest.mark.slow
def test_publishing(tmp_path, monkeypatch):
    monkeypatch.setattr("tools.publish.finish", reported)
    run = tmp_path / "run"
    run.mkdir()
    recipe = recipe_for(
        "fashion_mnist_mini", epochs=1, train_examples=64, data_dir=str(tmp_path), rprelu=True
    )
    recipe.save(run / "recipe.json")
    (run / "history.csv").write_text("epoch,loss,accuracy,val_loss,val_accuracy\n0,1,0.5,1,0.5\n")
    model = variant("resnet20", (32, 32, 3), 10, rprelu=True)
    model.save(run / "model.keras")
    with pytest.raises(ValueError, match="'vgg_small-x' is no name for that"):
        publish(run, "vgg_small-x", [])
    package, results = tmp_path / "package", tmp_path / "results"
    package.mkdir()
    record = publish(run, "resnet20-mini", ["A note."], package=package, results=results)
    monkeypatch.setattr(published, "FOLDER", package)
    assert published.find("resnet20-mini") == record
    images = siman_larq.data.load("fashion_mnist_mini")
    logits = models.resnet20(weights="mini")(siman_larq.data.prepare(images.test_images))
    assert record.keras_accuracy == np.mean(logits.numpy().argmax(-1) == images.test_labels)
    assert (record.train_images, record.test_images) == (64, 1000)
    assert record.agreement > 0.99
    card = (results / "resnet20-mini/README.md").read_text()
    assert f"| right in Keras | {record.keras_accuracy:.2%} |" in card
    assert "\n\nA note.\n" in card
    assert "--rprelu" in card
    kept = {path.name for path in (results / "resnet20-mini").iterdir()}
    assert kept == {"README.md", "recipe.json", "history.csv", "report.md", "curves.png"}
    for path in (*package.iterdir(), *results.rglob("*.*")):
        assert str(tmp_path).encode() not in path.read_bytes(), path


# --- those that are there ----------------------------------------------------------------------

NAMES = list(published.published())


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_published_networks(name):
    record = published.find(name)
    folder = published.FOLDER.parents[1] / "results" / name
    card = (folder / "README.md").read_text()
    assert record.sha256 in card
    assert f"| right in Keras | {record.keras_accuracy:.2%} |" in card
    assert record.agreement >= 0.999
    model = getattr(models, record.network)(weights=record.weights)
    try:
        images = siman_larq.data.load(record.recipe["dataset"], test_examples=1000)
    except siman_larq.data.DatasetNotFoundError as error:
        pytest.skip(str(error))
    logits = model.predict(siman_larq.data.prepare(images.test_images), verbose=0)
    right = np.mean(logits.argmax(-1) == images.test_labels)
    # Another machine may add up in another order, which turns a sign here and there.
    expected = json.loads((folder / "report.json").read_text())["keras_accuracy_verified"]
    assert right == pytest.approx(expected, abs=0.005)


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES[:1])
def test_the_file_of_a_published_network(name, tmp_path):
    result = command(name, "--output", tmp_path / "model.tflite")
    assert result.exit_code == 0, result.output
    record, content = published.find(name), (tmp_path / "model.tflite").read_bytes()
    # The numbers in Keras's names of ops depend on what this process built before.
    assert len(content) == pytest.approx(record.tflite_bytes, rel=1e-3)
    assert read_input_settings(content) == record.input_settings
    model = getattr(models, record.network)(weights=record.weights)
    inputs = tf.random.normal([50, *record.input_shape]).numpy()
    assert siman_larq.verify(model, content, inputs).agreement >= 0.96


def test_a_resnet20_is_published():
    record = published.find("resnet20-fashion_mnist")
    assert record.test_images == 10_000
    assert record.keras_accuracy >= 0.91
