"""The commands `siman-larq` of siman_larq_cli."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import larq as lq
import numpy as np
import pytest
import tensorflow as tf
from click.testing import CliRunner
from PIL import Image

import siman_larq
import siman_larq_cli
from siman_larq import SiMaNConv2D
from siman_larq.conversion import read_input_settings
from siman_larq.training import Recipe
from siman_larq.training.images import same_images
from siman_larq.training.run import load_images


def run(*arguments):
    return CliRunner().invoke(siman_larq_cli.main, [str(argument) for argument in arguments])


def refusal(*arguments):
    result = run(*arguments)
    assert result.exit_code == 1, result.output
    said, found, error = f"\n{result.stderr}".partition("\nError: ")
    assert found
    assert all(line.endswith(" ...") for line in said.splitlines() if line)
    return error


def _without_tensorflow():
    raise ImportError("There is no TensorFlow.")


@pytest.fixture(scope="module")
def model():
    tf.keras.utils.set_random_seed(0)
    return tf.keras.Sequential(
        [
            tf.keras.layers.Input((8, 8, 32)),
            SiMaNConv2D(32, 3, name="siman"),
            # Moves sums of 0 away from the next layer's threshold.
            tf.keras.layers.BatchNormalization(beta_initializer="ones"),
            lq.layers.QuantConv2D(
                8, 3, padding="same", input_quantizer="ste_sign", kernel_quantizer="siman"
            ),
            tf.keras.layers.GlobalAveragePooling2D(),
            tf.keras.layers.Dense(10),
        ]
    )


@pytest.fixture(scope="module")
def folder(model, tmp_path_factory):
    """A saved model and its file, made by the command."""
    folder = tmp_path_factory.mktemp("cli")
    model.save(folder / "model.keras")
    result = run("convert", folder / "model.keras", "-o", folder / "model.tflite")
    assert result.exit_code == 0, result.output
    assert (
        f"file size             {(folder / 'model.tflite').stat().st_size:,} bytes" in result.stdout
    )
    assert "packed binary layers  2 of 2\nleft float            none\n" in result.stdout
    return folder


def test_help_does_not_wait_for_tensorflow():
    program = """
import sys
import click
import siman_larq_cli
for name in ["", *siman_larq_cli.main.commands]:
  for option in ["--version", "--help"]:
    try:
        siman_larq_cli.main([*name.split(), option], prog_name="siman-larq")
    except SystemExit as end:
        assert end.code == 0, (name, option)
print(sorted({"tensorflow", "larq", "numpy"} & set(sys.modules)))
"""
    process = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    lines = process.stdout.splitlines()
    assert lines.count(f"siman-larq, version {siman_larq.__version__}") == 8
    for command in (
        "train-cifar",
        "train-imagenet",
        "convert",
        "verify",
        "bits",
        "published",
        "tasks",
    ):
        assert f"Usage: siman-larq {command} [OPTIONS]" in process.stdout
    assert lines[-1] == "[]"


def test_help_of_the_module_and_of_scripts():
    for command in (["-m", "siman_larq"], ["train/cifar.py"], ["train/imagenet.py"]):
        process = subprocess.run(
            [sys.executable, *command, "--help"],
            env={**os.environ, "PYTHONPROFILEIMPORTTIME": "1"},
            cwd=Path(__file__).parents[1],
            capture_output=True,
            text=True,
            check=True,
        )
        assert process.stdout.startswith("Usage: ")
        assert "siman_larq.cli" in process.stderr
        assert "tensorflow" not in process.stderr


def test_convert_and_verify(model, folder, tmp_path):
    images = np.random.default_rng(0).normal(size=(3, 8, 8, 32)).astype("float32")
    np.save(tmp_path / "images.npy", images)
    np.savez(tmp_path / "images.npz", images=images)
    for name in ("images.npy", "images.npz"):
        files = (folder / "model.keras", folder / "model.tflite", "--images", tmp_path / name)
        result = run("verify", *files, "--examples", 2)
        assert result.exit_code == 0, result.output
        expected = siman_larq.verify(model, folder / "model.tflite", images[:2])
        assert result.stdout == f"{expected}\n"


def test_disagreement_is_a_status(model, folder, tmp_path):
    """Another model's file, and NaN."""
    images = np.random.default_rng(0).normal(size=(2, 8, 8, 32)).astype("float32")
    np.save(tmp_path / "images.npy", images)
    files = (folder / "model.keras", folder / "model.tflite", "--images", tmp_path / "images.npy")
    assert run("verify", *files, "--strict").exit_code == 0
    other = tf.keras.models.clone_model(model)
    other.set_weights(model.get_weights())
    other.layers[-1].bias.assign_add([1.0] * 10)
    other.save(tmp_path / "other.keras")
    files = (tmp_path / "other.keras", *files[1:])
    result = run("verify", *files)
    assert result.exit_code == 0
    assert "NO" in result.stdout
    assert "The file does not agree" in refusal("verify", *files, "--strict")
    np.save(tmp_path / "images.npy", images * np.nan)
    assert "NaN or infinite values" in refusal("verify", *files)


@pytest.mark.parametrize("name", ["model.h5", "saved model"])
def test_other_formats(model, folder, tmp_path, name):
    model.save(tmp_path / name)
    result = run("convert", tmp_path / name)
    assert result.exit_code == 0, result.output
    written = tmp_path / f"{name.removesuffix('.h5')}.tflite"
    assert written.read_bytes() == (folder / "model.tflite").read_bytes()


def test_input_settings_go_into_the_file(folder, tmp_path):
    settings = {"mean": [0.5], "std": [0.25]}
    (tmp_path / "input.json").write_text(json.dumps(settings))
    (tmp_path / "model.keras").write_bytes((folder / "model.keras").read_bytes())
    result = run("convert", tmp_path / "model.keras")
    assert result.exit_code == 0, result.output
    assert f"taking {tmp_path / 'input.json'} into the file" in result.output
    assert read_input_settings((tmp_path / "model.tflite").read_bytes()) == settings
    assert read_input_settings((folder / "model.tflite").read_bytes()) is None
    given = ("convert", folder / "model.keras", "-o", tmp_path / "x", "--input-settings")
    (tmp_path / "input.json").write_text("[]")
    assert "cannot be read as JSON settings" in refusal(*given, tmp_path / "input.json")
    (tmp_path / "input.json").write_text('{"mean": [0.5, 0.5], "std": [1]}')
    result = run(*given, tmp_path / "input.json")
    assert result.exit_code == 1
    assert "Error: " in result.output
    assert "mean" in result.output.splitlines()[-1]
    assert "converting" not in result.output
    (tmp_path / "input.json").write_text("{}")
    assert "mean=None; one value for each of the 32 channels" in refusal(
        *given, tmp_path / "input.json"
    )
    (tmp_path / "input.json").write_text('{"mean": [0], "std": [1], "class_names": ["a"]}')
    message = refusal(*given, tmp_path / "input.json")
    assert "1 class_names for a model with outputs of [10] classes" in message
    assert not (tmp_path / "x").exists()


class Subclassed(tf.keras.Model):
    def __init__(self):
        super().__init__()
        self.head = tf.keras.layers.Dense(2)

    def call(self, inputs):
        return self.head(tf.reduce_mean(inputs, axis=(1, 2)))


class TestRunDir:
    @pytest.fixture(scope="class")
    def of_pictures(self, tmp_path_factory):
        """A run on a folder of pictures, and a subclassed network with its file."""
        place = tmp_path_factory.mktemp("run")
        for number in range(20):
            name = ("ape", "bee")[number % 2]
            (place / "data" / name).mkdir(parents=True, exist_ok=True)
            picture = Image.new("RGB", (8, 8), (10 * number, 50, 60))
            picture.save(place / "data" / name / f"{number}.png")
        recipe = Recipe(dataset=f"folder:{place / 'data'}", image_size=8)
        (place / "run").mkdir()
        recipe.save(place / "run" / "recipe.json")
        same_images(place / "run", load_images(recipe), is_chief=True)
        network = Subclassed()
        network(np.zeros((1, 8, 8, 3), np.float32))
        network.save(place / "model")
        converter = tf.lite.TFLiteConverter.from_keras_model(network)
        (place / "model.tflite").write_bytes(converter.convert())
        return place

    def verified(self, place, run="run"):
        return "verify", place / "model", place / "model.tflite", "--run-dir", place / run

    def test_subclassed_models(self, of_pictures):
        result = run(*self.verified(of_pictures))
        assert result.exit_code == 0, result.output
        assert "images compared                4 (LCE" in result.stdout
        assert "running the model and the file on test images ..." in result.stderr
        output = of_pictures / "int8.tflite"
        int8 = ("--float-ops", "int8", "--run-dir", of_pictures / "run")
        result = run("convert", of_pictures / "model", "-o", output, *int8)
        assert result.exit_code == 1
        assert "convert: 16 samples are too few" in result.stderr

    def test_other_pictures_than_the_run_began_with(self, of_pictures, tmp_path):
        place = Path(shutil.copytree(of_pictures, tmp_path / "place"))
        recipe = json.loads((place / "run/recipe.json").read_text())
        recipe["dataset"] = f"folder:{place / 'data'}"
        (place / "run/recipe.json").write_text(json.dumps(recipe))
        assert run(*self.verified(place)).exit_code == 0
        kept = (place / "run/data.json").read_text()
        (place / "data/ape/0.png").unlink()
        began = "began with 16 pictures to train and 4 to test on"
        assert began in refusal(*self.verified(place))
        int8 = ("--float-ops", "int8", "--run-dir", place / "run")
        assert began in refusal("convert", place / "model", "-o", tmp_path / "x", *int8)
        assert (place / "run/data.json").read_text() == kept
        (place / "run/data.json").unlink()  # of an older version
        assert run(*self.verified(place)).exit_code == 0
        assert not (place / "run/data.json").exists()

    def test_inputs_that_are_no_images(self, of_pictures, tmp_path):
        a, b = (tf.keras.Input((4,), name=name) for name in "ab")
        sizes = tf.keras.Input((None, None, 3), name="open")
        for inputs, says in (([a, b], "a (None, 4), b (None, 4)"), (sizes, "open (None, None,")):
            outputs = tf.keras.layers.Add()([a, b]) if inputs is not sizes else sizes
            tf.keras.Model(inputs, outputs).save(tmp_path / "model.keras")
            files = (tmp_path / "model.keras", of_pictures / "model.tflite")
            message = refusal("verify", *files, "--run-dir", of_pictures / "run")
            assert "--run-dir is for models with one input of images of a fixed size" in message
            assert says in message


def test_warnings_are_one_line(tmp_path):
    layers = [tf.keras.layers.Input((4,)), tf.keras.layers.Dense(3)]
    tf.keras.Sequential(layers).save(tmp_path / "float.keras")
    result = run("convert", tmp_path / "float.keras")
    assert result.exit_code == 0
    assert "Warning: Model 'sequential" in result.output
    assert "UserWarning" not in result.output


def test_sizes_that_are_not_fixed(tmp_path):
    """Small maps are rewritten where they are known; else there is a warning, and a file."""
    layers = [
        tf.keras.layers.Input((None, None, 32)),
        SiMaNConv2D(32, 3, name="binary"),
        tf.keras.layers.GlobalAveragePooling2D(),
    ]
    tf.keras.Sequential(layers).save(tmp_path / "dynamic.keras")
    result = run("convert", tmp_path / "dynamic.keras")
    assert result.exit_code == 0, result.output
    assert "Warning: Layers binary pad with zeros on maps of unknown size." in result.stderr
    message = refusal("convert", tmp_path / "dynamic.keras", "--overwrite", "--small-maps=rewrite")
    assert "--small-maps rewrite has no form" in message


def test_no_file_is_overwritten_unasked(folder, tmp_path):
    output = tmp_path / "model.tflite"
    output.write_text("mine")
    message = refusal("convert", folder / "model.keras", "-o", output)
    assert message == f"{output} exists; give another -o, or --overwrite.\n"
    assert output.read_text() == "mine"
    result = run("convert", folder / "model.keras", "-o", output, "--overwrite")
    assert result.exit_code == 0
    assert output.read_bytes() == (folder / "model.tflite").read_bytes()
    assert [path.name for path in tmp_path.iterdir()] == ["model.tflite"]


class TestRefusals:
    def test_settings_beside_resume(self, tmp_path):
        settings = ("--recipe", "zoo", "--output-dir", "runs", "--smoke")
        result = run("train-imagenet", "--resume", tmp_path, *settings)
        assert result.exit_code == 2
        assert (
            "takes the run's own recipe; leave out --recipe, --smoke, --output-dir.\n"
            in result.stderr
        )

    def test_two_folders_for_a_run(self, tmp_path):
        result = run("train-cifar", "--output-dir", tmp_path, "--run-dir", tmp_path / "run")
        assert result.exit_code == 2
        assert "Give either --output-dir or --run-dir, the run folder itself.\n" in result.stderr

    def test_outputs(self, folder, tmp_path):
        keras = tmp_path / "model.keras"
        keras.write_bytes((folder / "model.keras").read_bytes())
        message = refusal("convert", keras, "-o", keras, "--overwrite")
        assert message == f"{keras} is the model itself; give another -o.\n"
        assert keras.read_bytes() == (folder / "model.keras").read_bytes()
        message = refusal("convert", keras, "-o", tmp_path, "--overwrite")
        assert message == f"{tmp_path} is a folder; give -o the name of a file.\n"

    def test_a_folder_that_is_no_saved_model(self, tmp_path):
        assert "of a run folder give the file model.keras" in refusal("convert", tmp_path)

    def test_without_tensorflow(self, folder, tmp_path, monkeypatch):
        monkeypatch.setattr(siman_larq, "register", _without_tensorflow)
        message = refusal("convert", folder / "model.keras", "-o", tmp_path / "model.tflite")
        assert message == "There is no TensorFlow.\n"

    def test_files_that_are_not_there(self, folder, tmp_path):
        nothing = tmp_path / "nothing"
        keras, tflite = folder / "model.keras", folder / "model.tflite"
        assert refusal("convert", nothing) == f"There is no {nothing}.\n"
        assert f"There is no folder {nothing}" in refusal("convert", keras, "-o", nothing / "x")
        for files in (
            (nothing, tflite, "--images", tflite),
            (keras, nothing, "--images", tflite),
            (keras, tflite, "--images", nothing),
            (keras, tflite, "--run-dir", nothing),
        ):
            assert refusal("verify", *files) == f"There is no {nothing}.\n"

    def test_models_that_cannot_be_loaded(self, tmp_path):
        damaged = tmp_path / "model.keras"
        damaged.write_text("no model")
        assert f"{damaged} cannot be loaded as a Keras model" in refusal("convert", damaged)
        tf.saved_model.save(tf.Module(), str(tmp_path / "graph"))
        assert "only a TensorFlow graph" in refusal("convert", tmp_path / "graph")

    def test_a_layer_that_would_stay_float(self, tmp_path):
        layers = [
            tf.keras.layers.Input((4,)),
            lq.layers.QuantDense(3, kernel_quantizer="siman", name="binary_dense"),
        ]
        tf.keras.Sequential(layers).save(tmp_path / "dense.keras")
        message = refusal("convert", tmp_path / "dense.keras")
        assert message.endswith("If that is what you want, pass --allow-float binary_dense.\n")
        assert not (tmp_path / "dense.tflite").exists()
        message = refusal("convert", tmp_path / "dense.keras", "--allow-float", "dense")
        assert message.startswith(
            "convert: --allow-float names ['dense'], which are no binary layers"
        )
        result = run("convert", tmp_path / "dense.keras", "--allow-float", "binary_dense")
        assert result.exit_code == 0, result.output
        assert "left float            binary_dense\n" in result.stdout

    def test_images(self, folder, tmp_path):
        files = (folder / "model.keras", folder / "model.tflite")
        assert "either --images or --run-dir" in refusal("verify", *files)
        wrong = tmp_path / "images.npy"
        wrong.write_text("no numbers")
        assert f"{wrong} is no .npy or .npz file" in refusal("verify", *files, "--images", wrong)
        np.save(wrong, np.array([None]), allow_pickle=True)
        assert f"{wrong} is no .npy or .npz file" in refusal("verify", *files, "--images", wrong)
        np.save(wrong, np.float32(1))
        assert "a single number" in refusal("verify", *files, "--images", wrong)
        np.savez(tmp_path / "cut.npz", images=np.zeros((9, 8, 8, 32)))
        content = bytearray((tmp_path / "cut.npz").read_bytes())
        content[1000:1100] = bytes(range(100))
        (tmp_path / "cut.npz").write_bytes(content)
        message = refusal("verify", *files, "--images", tmp_path / "cut.npz")
        assert "cut.npz is no .npy or .npz file" in message
        np.savez(tmp_path / "empty.npz")
        message = refusal("verify", *files, "--images", tmp_path / "empty.npz")
        assert "holds no arrays" in message
        a, b = (tf.keras.Input((4,), name=name) for name in "ab")
        two = tf.keras.Model([a, b], tf.keras.layers.Add()([a, b]))
        two.save(tmp_path / "two.keras")
        (tmp_path / "two.tflite").write_bytes(
            tf.lite.TFLiteConverter.from_keras_model(two).convert()
        )
        np.savez(tmp_path / "two.npz", a=np.zeros((5, 4)), b=np.zeros((6, 4)))
        files_of_two = (tmp_path / "two.keras", tmp_path / "two.tflite", "--examples", 3)
        message = refusal("verify", *files_of_two, "--images", tmp_path / "two.npz")
        assert "are given [5, 6] images; give equally many" in message
        np.save(wrong, np.zeros((2, 3, 3, 1), "float32"))
        assert "(2, 3, 3, 1)" in refusal("verify", *files, "--images", wrong)
        assert "recipe.json" in refusal("verify", *files, "--run-dir", tmp_path)
