"""The report of a run, made of a small network that was trained elsewhere."""

import csv
import importlib.machinery
import importlib.util
import json
import sys
import types
import warnings

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from siman_larq import SiMaNConv2D, data
from siman_larq.analysis import activations, codes
from siman_larq.conversion.metadata import read_input_settings
from siman_larq.training import recipe_for
from siman_larq.training.pictures import label_of, plot_curves
from siman_larq.training.progress import Progress, Stopwatch
from siman_larq.training.report import finish
from siman_larq.training.testing import Answers
from siman_larq.training.text import duration

NAMES = ("a rather long name, such as people do give", "Größe $x_1$", "日本語", "x|y\nz")
PICTURES = (
    "curves.png", "weights.png", "angles.png", "codes.png", "margins.png", "confusion.png",
    "samples.png",
)  # fmt: skip


def network(num_classes):
    layers = tf.keras.layers
    model = tf.keras.Sequential(
        [
            layers.Input((32, 32, 3)),
            layers.Conv2D(8, 3, strides=16, padding="same", use_bias=False),
            layers.BatchNormalization(),
            SiMaNConv2D(16, 3, name="tiny"),  # on maps of 2 x 2
            layers.GlobalAveragePooling2D(),
            layers.Dense(num_classes),
        ]
    )
    # Statistics of batches that were never seen would leave all images alike.
    model.layers[0].set_weights([10 * weight for weight in model.layers[0].get_weights()])
    return model


def source(names, images=40):
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (images, 28, 28, 1), dtype=np.uint8)
    labels = np.arange(images) % len(names)
    made = data.ImageData("made", pixels, labels, pixels, labels, len(names), names, "made up")
    return data.MemorySource(made)


def finished(folder, names, epochs):
    model = network(len(names))
    with warnings.catch_warnings():
        warnings.filterwarnings("error", module="siman_larq|matplotlib")
        table = finish(
            recipe_for("fashion_mnist_mini", epochs=epochs), folder, model, source(names)
        )
    return model, table


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run folder of which an earlier, broken report is left."""
    folder = tmp_path_factory.mktemp("run")
    for name in ("model.keras", "model.tflite", "report.json", "samples.png"):
        (folder / name).touch()
    (folder / "report.md").write_text("# An old")
    (folder / "history.csv").write_text(
        "epoch,accuracy,loss,lr,seconds,val_accuracy,val_loss\n"
        "0,0.5,1.5,0.1,61.5,0.4,1.6\n"
        "1,0.6,1.2,0.1,62.5,,\n"
    )
    model, table = finished(folder, NAMES, epochs=3)
    return folder, model, table


class TestFinish:
    def test_makes_everything_anew_and_leaves_nothing_else(self, run):
        folder, model, _ = run
        names = {"history.csv", "input.json", "model.keras", "model.tflite"}
        names |= {"report.json", "report.md", *PICTURES}
        assert {path.name for path in folder.iterdir()} == names
        for name in PICTURES:
            assert min(Image.open(folder / name).size) > 150
        loaded = tf.keras.models.load_model(folder / "model.keras")
        np.testing.assert_array_equal(loaded.get_weights()[0], model.get_weights()[0])
        assert read_input_settings((folder / "model.tflite").read_bytes())["class_names"] == [
            *NAMES
        ]

    def test_small_maps_are_rewritten_and_the_kernel_is_named(self, run):
        folder, _, table = run
        figures = json.loads((folder / "report.json").read_text())
        assert figures["rewritten"] == figures["packed"] == ["tiny"]
        assert figures["agreement"] == figures["equal"] == 1
        assert figures["max_abs_difference"] < 1e-4
        is_followed = importlib.util.find_spec("siman_runtime") is not None
        assert figures["kernel"].startswith("siman-runtime" if is_followed else "LCE indirect")
        assert figures["kernel"] in table
        assert figures["layers"] == ("equal" if is_followed else None)
        assert ("layer by layer" in table) == is_followed

    @pytest.mark.slow
    def test_a_siman_runtime_that_does_not_run(self, tmp_path, monkeypatch, capsys):
        def broken(*args, **kwargs):
            raise ImportError("its library is unfit.")

        module = types.ModuleType("siman_runtime")
        module.__spec__ = importlib.machinery.ModuleSpec("siman_runtime", None)
        module.Interpreter = broken
        monkeypatch.setitem(sys.modules, "siman_runtime", module)
        _, table = finished(tmp_path, NAMES, epochs=1)
        assert "It cannot be done so. its library is unfit." in capsys.readouterr().out
        assert "LCE indirect" in table
        assert "layer by layer" not in table

    def test_counts_every_test_image_once(self, run):
        folder, model, _ = run
        figures = json.loads((folder / "report.json").read_text())
        images, labels = source(NAMES).test_sample(40, (32, 32, 3))
        predicted = np.argmax(model.predict(images, verbose=0), axis=1)
        assert len(set(predicted)) > 1
        expected = np.zeros((4, 4), int)
        for label, answer in zip(labels, predicted, strict=True):
            expected[label, answer] += 1
        assert figures["confusion"] == expected.tolist()
        assert figures["keras_accuracy"] == pytest.approx(np.trace(expected) / 40)

    def test_time_is_that_of_all_sessions(self, run):
        folder, _, table = run
        figures = json.loads((folder / "report.json").read_text())
        assert figures["training_seconds"] == 124
        assert figures["seconds_per_epoch"] == 62
        # An epoch is lacking.
        assert "2 min 4 s for 2 of 3 epochs, 1 min 2 s an epoch" in table
        assert "CPU cores" in figures["machine"]

    def test_markdown_shows_how_to_load_the_model(self, run):
        folder, _, table = run
        text = (folder / "report.md").read_text()
        assert table in text
        code = text.split("```python\n")[1].split("```")[0]
        assert code.splitlines()[0].startswith("import siman_larq")
        with pytest.MonkeyPatch.context() as patch:
            patch.chdir(folder)
            scope = {}
            exec(code, scope)
        assert scope["model"].output_shape == (None, 4)
        for name in PICTURES:
            assert f"({name})" in text

    def test_codes_and_activations_are_those_of_the_analysis(self, run):
        folder, model, _ = run
        figures = json.loads((folder / "report.json").read_text())
        (layer,), (row,) = codes(model), figures["codes"]
        assert row == {"layer": "tiny", **layer.summary()}
        (seen,), (row,) = (
            activations(model, source(NAMES).test_sample(40, (32, 32, 3))[0]),
            (figures["activations"]),
        )
        assert row == {"layer": "tiny", **seen.summary()}
        text = (folder / "report.md").read_text()
        assert f"| tiny | {layer.share_of_ones.mean():.3f} | {layer.entropy.mean():.3f} |" in text
        assert f"| tiny | {seen.balance.mean():.3f} | {seen.dead.mean():.1%} |" in text

    def test_names_do_not_end_the_cells_of_tables(self, run):
        text = (run[0] / "report.md").read_text()
        rows = [line for line in text.splitlines() if line.startswith("| ")]
        assert len(rows) == 6 + 3 + 3
        assert all(row.replace("\\|", "").count("|") == 7 for row in rows[:6])
        assert rows[4].startswith("| 日本語 |")


def test_many_classes_and_no_history(tmp_path):
    names = tuple(f"class {number}" for number in range(30))
    _, table = finished(tmp_path, names, epochs=1)
    figures = json.loads((tmp_path / "report.json").read_text())
    assert figures["confusion"] is None
    first = figures["most_confused"][0]
    assert first["true"] != first["predicted"]
    assert (
        f"| {first['true']} | {first['predicted']} | {first['images']} |"
        in (tmp_path / "report.md").read_text()
    )
    assert "training time" not in table
    assert all((tmp_path / name).stat().st_size for name in PICTURES)


class TestAnswers:
    answers = Answers(
        ("a", "b", "c"), np.array([0, 0, 0, 1, 1, 2]), np.array([0, 1, 1, 1, 2, 2]), top5=1.0
    )

    def test_confusion(self):
        assert self.answers.confusion().tolist() == [[1, 2, 0], [0, 1, 1], [0, 0, 1]]
        assert self.answers.accuracy == 0.5

    def test_most_confused_begin_with_the_most(self):
        assert self.answers.most_confused(5) == [(0, 1, 2), (1, 2, 1)]
        assert self.answers.most_confused(1) == [(0, 1, 2)]


class TestPictures:
    def test_labels_are_short_and_can_be_drawn(self):
        assert label_of(NAMES, 0, 12) == "a rat…o give"
        assert label_of(NAMES, 1, 12) == "Größe $x_1$"
        assert label_of(NAMES, 2, 12) == "class 2"
        assert label_of(NAMES, 3, 12) == "x|y z"

    @pytest.mark.parametrize("epochs", [0, 1])
    def test_hardly_any_history(self, tmp_path, epochs):
        rows = [{"epoch": str(epoch), "loss": "1.5"} for epoch in range(epochs)]
        plot_curves(rows, tmp_path / "curves.png")
        assert Image.open(tmp_path / "curves.png").size == (1080, 420)


class TestProgress:
    def test_says_what_it_does_and_shows_the_loss(self, capsys):
        progress = Progress(0, 1, 2)
        progress.on_train_begin()
        progress.on_train_batch_end(0, {"loss": 1.25})
        progress.on_epoch_end(0, {"loss": 1.25, "val_loss": 1.5, "seconds": 2.0})
        progress.close()
        printed, bar = capsys.readouterr()
        assert printed.splitlines()[0].startswith("Tracing the training step")
        assert "epoch 1/1: loss 1.2500, val_loss 1.5000" in printed
        assert "loss 1.2500" in bar

    def test_seconds_are_written_to_the_history(self, tmp_path):
        model = tf.keras.Sequential([tf.keras.layers.Input((1,)), tf.keras.layers.Dense(1)])
        model.compile("sgd", "mse")
        logger = tf.keras.callbacks.CSVLogger(tmp_path / "history.csv")
        model.fit(np.ones((2, 1)), np.ones(2), verbose=0, callbacks=[Stopwatch(), logger])
        with open(tmp_path / "history.csv", newline="") as file:
            (row,) = csv.DictReader(file)
        assert 0 <= float(row["seconds"]) < 60


def test_spans_of_time_are_for_people():
    spans = [duration(seconds) for seconds in (0.04, 9.94, 59.6, 61, 3723)]
    assert spans == ["0.0 s", "9.9 s", "1 min 0 s", "1 min 1 s", "1 h 2 min"]
