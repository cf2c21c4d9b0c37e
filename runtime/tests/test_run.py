"""`siman-run`: from a picture to a table."""

import json

import numpy as np
import pytest
from tflite_models import Convolution

from siman_runtime import Interpreter
from siman_runtime.run import main, probabilities

image_module = pytest.importorskip("PIL.Image")

OP = Convolution(height=12, width=10, channels=3, filters=4, kernel=(12, 10), padding=1, seed=4)


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "model.tflite").write_bytes(OP.model())
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (12, 10, 3), dtype=np.uint8)
    image_module.fromarray(pixels).save(tmp_path / "image.png")
    settings = {"mean": [0.4, 0.5, 0.6], "std": [0.2, 0.3, 0.1], "class_names": list("abcd")}
    (tmp_path / "input.json").write_text(json.dumps(settings))
    return tmp_path


def test_the_run_folder_says_how_to_prepare(folder, capsys):
    main([str(folder / "model.tflite"), str(folder / "image.png"), "--top", "2"])
    pixels = np.asarray(image_module.open(folder / "image.png"), np.float32) / 255
    x = (pixels - np.float32([0.4, 0.5, 0.6])) / np.float32([0.2, 0.3, 0.1])
    expected = probabilities(Interpreter(OP.model()).predict(x[None]))
    lines = capsys.readouterr().out.splitlines()
    assert "input.json" in lines[0]
    best = int(np.argmax(expected))
    assert lines[-2].split() == [f"{100 * expected[best]:.2f}", "%", "abcd"[best]]
    assert len(lines) == 5


def test_flags(folder, capsys):
    (folder / "names.txt").write_text("w\nx\ny\nz\n")
    flags = [
        "--labels",
        str(folder / "names.txt"),
        "--mean",
        "0.5",
        "--std",
        "0.25",
        "--crop",
        "0.9",
    ]
    main([str(folder / "model.tflite"), str(folder / "image.png"), *flags])
    text = capsys.readouterr().out
    assert "--mean, --std, --crop" in text
    assert {line.split()[-1] for line in text.splitlines()[-4:]} == set("wxyz")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["absent.tflite", "image.png"], "no model at"),
        (["model.tflite", "absent.png"], "absent.png is no picture"),
        (["model.tflite", "model.tflite"], "is no picture that Pillow reads"),
        (["model.tflite", "image.png", "--std", "0"], "above 0"),
        (["model.tflite", "image.png", "--crop", "2"], "above 0 and up to 1"),
        (["model.tflite", "image.png", "--mean", "1", "2"], "mean has 2 values"),
        (["model.tflite", "image.png", "--labels", "input.json"], "1 labels; the model has 4"),
    ],
)
def test_errors(folder, arguments, message, monkeypatch):
    monkeypatch.chdir(folder)
    with pytest.raises(SystemExit, match=message):
        main(arguments)


def test_damaged_settings(folder, monkeypatch):
    monkeypatch.chdir(folder)
    (folder / "input.json").write_text('{"mean": 3}')
    with pytest.raises(SystemExit, match="input.json is damaged"):
        main(["model.tflite", "image.png"])
