"""Settings inside a TFLite file, as siman-run reads them on a Pi."""

import numpy as np
import pytest
import tensorflow as tf
from larq_compute_engine.tflite.python.interpreter import Interpreter

from siman_larq import SiMaNConv2D, convert
from siman_larq.conversion import add_input_settings, operators, read_input_settings

SETTINGS = {
    "picture_size": [6, 6],
    "is_grey": True,
    "crop": 1.0,
    "mean": [0.4, 0.5, 0.6],
    "std": [0.2, 0.3, 0.1],
    "class_names": ["Ärmel", "T-shirt/top", "Bag", "Coat"],
}


@pytest.fixture(scope="module")
def tflite():
    model = tf.keras.Sequential(
        [
            tf.keras.Input((8, 8, 3)),
            SiMaNConv2D(32, 3),
            tf.keras.layers.GlobalAveragePooling2D(),
            tf.keras.layers.Dense(4),
        ]
    )
    return convert(model)


@pytest.fixture(scope="module")
def images():
    return np.random.default_rng(0).normal(0, 1, (5, 8, 8, 3)).astype(np.float32)


def test_settings_come_back(tflite):
    assert read_input_settings(tflite) is None
    once = add_input_settings(tflite, {"mean": [0.1], "std": [1.0]})
    assert read_input_settings(once) == {"mean": [0.1], "std": [1.0]}
    twice = add_input_settings(once, SETTINGS)
    assert read_input_settings(twice) == SETTINGS
    assert len(twice) - len(tflite) < 600
    assert operators(twice) == operators(tflite)


def test_the_network_is_the_same(tflite, images):
    new = add_input_settings(tflite, SETTINGS)
    expected = Interpreter(tflite).predict(images)
    np.testing.assert_array_equal(Interpreter(new).predict(images), expected)
    stock = tf.lite.Interpreter(model_content=new)  # without LCE's ops it can be read, not run
    details = stock.get_input_details()[0]
    assert tuple(details["shape"]) == (1, 8, 8, 3)
    before = tf.lite.Interpreter(model_content=tflite).get_input_details()[0]
    assert details["name"] == before["name"]


def test_siman_runtime_reads_them(tflite, images):
    siman_runtime = pytest.importorskip("siman_runtime")
    from siman_runtime.flatbuffer import metadata_of

    new = add_input_settings(tflite, SETTINGS)
    assert metadata_of(tflite, "siman_input") is None
    assert "Bag" in metadata_of(new, "siman_input").decode()
    np.testing.assert_array_equal(
        siman_runtime.Interpreter(new).predict(images),
        siman_runtime.Interpreter(tflite).predict(images),
    )


def test_float_files_run_everywhere(images):
    layers = [tf.keras.Input((8, 8, 3)), tf.keras.layers.Conv2D(4, 8, name="head")]
    old = tf.lite.TFLiteConverter.from_keras_model(tf.keras.Sequential(layers)).convert()
    results = []
    for content in (old, add_input_settings(old, SETTINGS)):
        runner = tf.lite.Interpreter(model_content=content).get_signature_runner()
        results.append(next(iter(runner(**{runner_input(runner): images[:1]}).values())))
    np.testing.assert_array_equal(*results)


def runner_input(runner) -> str:
    (name,) = runner.get_input_details()
    return name


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"mean": None}, "mean=None; one value for each of the 3 channels"),
        ({"mean": [0.1, 0.2]}, "one value for each of the 3 channels"),
        ({"std": [0.2, 0.0, 0.1]}, "finite numbers above 0 are needed"),
        ({"mean": [float("nan")]}, "finite numbers are needed"),
        ({"class_names": ["a"]}, "1 class_names for a model with outputs of .4. classes"),
        ({"class_names": list("abcde")}, "5 class_names for a model with outputs of .4. classes"),
        ({"class_names": "abcd"}, "class_names='abcd'; a list of texts is needed"),
        ({"class_names": [1, 2, 3, 4]}, "a list of texts is needed"),
        ({"class_names": 5}, "class_names=5; a list of texts is needed"),
        ({"class_names": None}, "class_names=None; a list of texts is needed"),
        ({"mean": 0.5}, "mean=0.5; one value for each of the 3 channels is needed in a list"),
        ({"mean": [True]}, "finite numbers are needed"),
        ({"mean": [1e31]}, "finite numbers are needed, up to 1e30"),
        ({"std": [1e-31]}, "finite numbers above 0 are needed, from 1e-30"),
        (
            {"std": np.ones(3)},
            "cannot be written as JSON .*; give numbers, text and lists",
        ),
        ({"crop": 2}, "crop=2; a number above 0 and up to 1 is needed"),
        ({"crop": True}, "crop=True; a number above 0"),
        ({"is_grey": "no"}, "is_grey='no'; true or false is needed"),
        ({"picture_size": 32}, "picture_size=32; a list of height and width"),
        ({"picture_size": [6]}, "a list of height and width"),
        ({"picture_size": [6.0, 6]}, "a list of height and width"),
        ({"picture_size": [100, 100]}, r"picture_size=\[100, 100\]; the model takes 8 x 8 pixels"),
    ],
)
def test_wrong_settings(tflite, changed, message):
    with pytest.raises(ValueError, match=message):
        add_input_settings(tflite, SETTINGS | changed)


def test_siman_runtime_takes_what_is_taken(tflite, tmp_path):
    pytest.importorskip("siman_runtime")
    from siman_runtime.preparation import preparation_of

    for changed in ({}, {"crop": 1, "mean": (1,), "picture_size": []}, {"std": [1e-30, 1, 1e30]}):
        content = add_input_settings(tflite, SETTINGS | changed)
        found = preparation_of(tmp_path / "model.tflite", content)
        assert found.labels == SETTINGS["class_names"]


def test_files_that_are_none(tflite):
    for content in (b"", tflite[:100], b"PK" + tflite):
        with pytest.raises(ValueError, match="no whole TFLite file"):
            add_input_settings(content, SETTINGS)
        with pytest.raises(ValueError, match="no whole TFLite file"):
            read_input_settings(content)
