"""`convert(float_ops="int8")`: float convolutions and dense layers in 8-bit integers."""

import importlib

import larq as lq
import numpy as np
import pytest
import tensorflow as tf
from click.testing import CliRunner

import siman_larq_cli
from siman_larq import ConversionError, convert, verify
from siman_larq.conversion import operators
from siman_larq.conversion.flatbuffer import TFLiteFile, written
from siman_larq.conversion.int8_file import check_int8
from siman_larq.training import Recipe
from siman_larq.training.run import load_images

layers = tf.keras.layers
SAMPLES = np.random.default_rng(0).normal(size=(64, 12, 12, 3)).astype(np.float32)


def network():
    """A stem of two convolutions, a binary block, a transition and a head."""
    tf.keras.utils.set_random_seed(0)
    inputs = x = layers.Input((12, 12, 3), name="picture")
    x = layers.Conv2D(8, 3, strides=2, padding="same", use_bias=False)(x)
    x = layers.MaxPool2D(2)(layers.ReLU()(layers.BatchNormalization(name="norm")(x)))
    x = layers.Conv2D(32, 1, bias_initializer="random_normal", name="second")(x)
    y = lq.layers.QuantConv2D(
        32, 3, padding="same", pad_values=1, input_quantizer="ste_sign",
        kernel_quantizer="siman_pm1", use_bias=False, name="binary",
    )(x)  # fmt: skip
    x = layers.AvgPool2D(3)(layers.Add()([x, layers.BatchNormalization()(y)]))
    x = layers.PReLU()(layers.Conv2D(16, 1)(x))
    outputs = layers.Dense(5, activation="softmax", name="classes")(layers.Flatten()(x))
    model = tf.keras.Model(inputs, outputs)
    gamma, beta, _, _ = model.get_layer("norm").get_weights()
    # One filter of the first convolution is dead, with a bias beyond 32 bits of its own steps.
    gamma[0], beta[:] = 1e-9, np.linspace(1, -1, 8)
    model.get_layer("norm").set_weights([gamma, beta, np.full(8, 0.1), np.full(8, 2.0)])
    return model


@pytest.fixture(scope="module")
def model():
    return network()


@pytest.fixture(scope="module")
def checked(model):
    """What the file is held against before it is given out, and the file."""
    module, seen = importlib.import_module("siman_larq.conversion.convert"), []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "check_int8", lambda *a: seen.extend(a) or check_int8(*a))
        return seen, convert(model, float_ops="int8", samples=SAMPLES)


@pytest.fixture(scope="module")
def tflite(checked):
    return checked[1]


def test_all_but_what_is_binary_becomes_int8(tflite):
    assert operators(tflite) == [
        *("QUANTIZE", "CONV_2D", "MAX_POOL_2D", "CONV_2D", "DEQUANTIZE"),
        *("LceQuantize", "LceBconv2d", "ADD", "AVERAGE_POOL_2D"),
        *("QUANTIZE", "CONV_2D", "DEQUANTIZE", "PRELU"),
        *("QUANTIZE", "FULLY_CONNECTED", "DEQUANTIZE", "SOFTMAX"),
    ]


def test_its_outputs_are_near_the_models(model, tflite):
    report = verify(model, tflite, SAMPLES)
    assert report.int8_operators == 4
    assert report.packed == ["binary"]
    assert [output.name for output in report.outputs] == ["classes"]
    # Without binary layers between them 8 bits are off by a hundredth; a turned sign is more.
    errors = np.abs(report.keras_outputs - report.tflite_outputs).max(axis=1)
    assert np.median(errors) < 0.02
    assert report.agreement > 0.9
    assert not report.agrees
    with pytest.raises(ValueError, match="judge it by its agreement.*without float_ops='int8'"):
        verify(model, tflite, SAMPLES, runtime="siman", layers=True)
    assert "int8 operators                 4, so outputs are near" in str(report)


def test_a_dense_layer_on_its_grid_is_right_to_half_a_step():
    """Integers that stand for the numbers exactly: only what comes out is rounded."""
    draw = np.random.default_rng(1)
    kernel = draw.integers(-127, 128, (6, 4)).astype(np.float32) / 64
    kernel[0, 0] = 127 / 64
    model = tf.keras.Sequential([layers.Input((6,)), layers.Dense(4)])
    bias = draw.normal(size=4).astype(np.float32)
    model.layers[0].set_weights([kernel, bias])
    images = draw.integers(-128, 128, (64, 6)).astype(np.float32) / 32
    images[0, :2] = -4, 127 / 32
    with pytest.warns(UserWarning, match="no binary layer"):
        tflite = convert(model, float_ops="int8", samples=images)
    report = verify(model, tflite, images)
    step = np.ptp(images @ kernel + bias) / 255
    assert report.max_abs_difference == pytest.approx(step / 2, rel=0.1)


def test_a_dense_layer_on_maps():
    """As attention over channels has it; what goes into it has no known shape in the graph."""
    tf.keras.utils.set_random_seed(0)
    inputs = layers.Input((6, 6, 8))
    x = layers.GlobalAveragePooling2D(keepdims=True)(inputs)
    x = inputs * layers.Dense(8, activation="sigmoid")(x)
    model = tf.keras.Model(inputs, layers.Conv2D(4, 3)(x))
    images = np.random.default_rng(2).normal(size=(32, 6, 6, 8)).astype(np.float32)
    with pytest.warns(UserWarning, match="no binary layer"):
        tflite = convert(model, float_ops="int8", samples=images)
    report = verify(model, tflite, images)
    assert report.int8_operators == 2
    assert report.max_abs_difference < 0.02 * np.ptp(report.keras_outputs)


def test_a_bias_of_equal_numbers():
    """LCE's converter counts it in the first filter's steps; a hard sigmoid brings one."""
    tf.keras.utils.set_random_seed(0)
    model = tf.keras.Sequential([layers.Input((6, 6, 8)), layers.Conv2D(4, 3, use_bias=False)])
    model.add(layers.Activation("hard_sigmoid"))
    images = np.random.default_rng(3).normal(size=(32, 6, 6, 8)).astype(np.float32)
    with pytest.warns(UserWarning, match="no binary layer"):
        tflite = convert(model, float_ops="int8", samples=images)
    report = verify(model, tflite, images)
    assert report.int8_operators == 1
    assert report.max_abs_difference < 0.02


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        ("kernel", "another kernel or bias"),
        ("stride", "in place of"),
        ("scale", "counts in steps of"),
        ("activation", "steps off"),
        ("bits", "other 1-bit operators"),
    ],
)
def test_a_wrong_file_is_not_given_out(checked, fault, said):
    made, content, *others = checked[0]
    file = TFLiteFile(content)
    kind = "LceBconv2d" if fault == "bits" else "CONV_2D"
    places = [place for place, name in enumerate(file.operators) if name == kind]
    operator = file.graph.operators[places[-1]]
    if fault == "stride":
        file.graph.operators[places[-2]].builtinOptions.strideH = 2
    elif fault == "activation":
        operator.builtinOptions.fusedActivationFunction = 1
    elif fault == "scale":
        quantization = file.graph.tensors[operator.outputs[0]].quantization
        quantization.scale = quantization.scale * np.float32(1.1)
    else:
        buffer = file.content.buffers[file.graph.tensors[operator.inputs[1]].buffer]
        buffer.data = buffer.data ^ np.uint8(64)
    with pytest.raises(ConversionError, match=said):
        check_int8(made, written(file.content), *others)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"float_ops": "int8"}, "give samples=images"),
        ({"samples": SAMPLES}, "samples are for float_ops='int8' only"),
        ({"float_ops": "int4", "samples": SAMPLES}, "'int4' is unknown; use 'float32' or 'int8'"),
        ({"float_ops": "int8", "samples": SAMPLES[:31]}, "31 samples are too few"),
        ({"float_ops": "int8", "samples": SAMPLES[:, 1:]}, r"samples: .*\(64, 11, 12, 3\)"),
        ({"float_ops": "int8", "samples": SAMPLES * np.nan}, "'picture' hold values that are NaN"),
        ({"float_ops": "int8", "samples": np.zeros_like(SAMPLES)}, "all samples are the same"),
        ({"float_ops": "int8", "samples": "images"}, "samples: .*str"),
    ],
)
def test_what_cannot_be_measured(model, arguments, said):
    with pytest.raises(ValueError, match=f"^convert: .*{said}"):
        convert(model, **arguments)


def test_nothing_to_put_on_8_bits(model):
    binary = tf.keras.Sequential(
        [
            layers.Input((4, 4, 32)),
            lq.layers.QuantConv2D(4, 3, input_quantizer="ste_sign", kernel_quantizer="siman_pm1"),
        ]
    )
    samples = np.random.default_rng(0).normal(size=(32, 4, 4, 32)).astype(np.float32)
    with pytest.raises(ConversionError, match="no float convolution or dense layer"):
        convert(binary, float_ops="int8", samples=samples)


def run(*arguments):
    return CliRunner().invoke(siman_larq_cli.main, ["convert", *map(str, arguments)])


def test_the_command(tmp_path):
    model = tf.keras.Sequential([layers.Input((6,)), layers.Dense(4)])
    model.save(tmp_path / "model.keras")
    samples = np.random.default_rng(0).normal(size=(40, 6)).astype(np.float32)
    np.save(tmp_path / "samples.npy", samples)
    done = run(
        tmp_path / "model.keras", "--float-ops", "int8", "--samples", tmp_path / "samples.npy"
    )
    assert done.exit_code == 0, done.output
    report = verify(model, tmp_path / "model.tflite", samples)
    assert "int8 operators        1\n" in done.stdout
    assert f"agreement of top-1    {report.agreement:.2%} of 40 samples\n" in done.stdout
    assert report.agreement > 0.9
    images = ["--samples", tmp_path / "samples.npy"]
    both = [*images, "--run-dir", tmp_path]
    for arguments in (["--float-ops", "int8"], images, both, ["--float-ops", "int8", *both]):
        refused = run(tmp_path / "model.keras", "--overwrite", *arguments)
        assert refused.exit_code == 1
        assert "Give --float-ops int8 with either --samples or --run-dir" in refused.stderr


@pytest.mark.parametrize(("size", "held_out"), [(32, 0), (32, 500), (31, 0)])
def test_accuracy_on_the_images_of_a_run(tmp_path, size, held_out):
    """Of outputs `(1, 1, classes)` for an image; of maps there is none."""
    model = tf.keras.Sequential([layers.Input((32, 32, 3)), layers.Conv2D(10, size)])
    model.save(tmp_path / "model.keras")
    settings = {"train_examples": 60, "test_examples": 30, "held_out": held_out}
    recipe = Recipe(dataset="fashion_mnist_mini", **settings)
    recipe.save(tmp_path / "recipe.json")
    done = run(tmp_path / "model.keras", "--float-ops", "int8", "--run-dir", tmp_path)
    assert done.exit_code == 0, done.output
    if size == 31:
        assert done.stdout.count("unknown: outputs are no single row of classes") == 2
        return
    images, labels = load_images(recipe).test_sample(30, (32, 32, 3))
    right = np.mean(model.predict(images, verbose=0)[:, 0, 0].argmax(-1) == labels)
    what = "held-out training images" if held_out else "test images"
    assert f"accuracy, float32     {right:.2%} of 30 {what}\n" in done.stdout
