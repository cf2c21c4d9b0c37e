"""`verify(layers=True)` tells rounding from a wrong file, and names the layer."""

import larq as lq
import numpy as np
import pytest
import tensorflow as tf
from click.testing import CliRunner

from siman_larq import ConversionError, SiMaNConv2D, SiMaNQuantizer, convert, verify
from siman_larq.cli import main
from siman_larq.conversion.flatbuffer import TFLiteFile, written

siman_runtime = pytest.importorskip("siman_runtime")

layers = tf.keras.layers
SIDE = 8


def randomised(model, seed=2):
    draw = np.random.default_rng(seed)
    for weight in model.weights:
        low_high = (0.5, 2.0) if "variance" in weight.name else (-1.0, 1.0)
        weight.assign(draw.uniform(*low_high, size=weight.shape))
    return model


def images(model, count=8):
    return np.random.default_rng(1).normal(size=(count, *model.input_shape[1:])).astype(np.float32)


def quant_conv(name, **kwargs):
    kwargs |= {"input_quantizer": "ste_sign", "kernel_quantizer": "ste_sign", "padding": "same"}
    return lq.layers.QuantConv2D(32, 3, name=name, use_bias=False, **kwargs)


def residual(seed=2):
    """Of SiMaN's layers: means taken off, zero padding, float sums."""
    x = inputs = tf.keras.Input((SIDE, SIDE, 32))
    for n in range(2):
        conv = SiMaNConv2D(32, 3, name=f"conv_{n}")
        x = layers.PReLU(shared_axes=(1, 2))(x + layers.BatchNormalization()(conv(x)))
    scores = layers.Dense(4, name="scores")(layers.GlobalAveragePooling2D()(x))
    return randomised(tf.keras.Model(inputs, scores), seed)


def chained():
    """Bits in, bits out: no number but thresholds between its binary convolutions."""
    x = inputs = tf.keras.Input((SIDE, SIDE, 32))
    for n in range(2):
        x = layers.BatchNormalization(scale=False)(quant_conv(f"conv_{n}", pad_values=1.0)(x))
    return randomised(tf.keras.Model(inputs, layers.GlobalAveragePooling2D(name="mean")(x)))


def nested():
    """The levels (0, 1), a model within it, dilation, a layer called twice, a crop, max-pooling."""

    def conv(name, *args, **kwargs):
        kwargs["kernel_quantizer"] = SiMaNQuantizer(levels=(0, 1))
        return SiMaNConv2D(*args, name=name, use_bias=True, **kwargs)

    inner = tf.keras.Sequential([tf.keras.Input((SIDE, SIDE, 32))])
    inner.add(conv("inner", 32, 3, dilation_rate=2))
    twice = conv("twice", 32, 3)
    inputs = tf.keras.Input((SIDE, SIDE, 32))
    x = twice(twice(inner(inputs)))
    one = conv("one", 32, 3, input_quantizer="ste_sign")(layers.MaxPool2D(2)(x))
    other = conv("other", 32, 1, strides=2, padding="valid")(layers.Cropping2D((1, 0))(x))
    outputs = [layers.Flatten(name="first")(one), layers.Flatten(name="second")(other)]
    return randomised(tf.keras.Model(inputs, outputs))


@pytest.fixture(scope="module")
def siman():
    model = residual()
    return model, convert(model)


@pytest.fixture(scope="module")
def bits():
    model = chained()
    return model, convert(model)


def proof(model, tflite, **settings):
    return verify(model, tflite, images(model), runtime="siman", layers=True, **settings).layers


def damaged(tflite, place, change, number=0, op="LceBconv2d"):
    """The file with another constant as an input of an op, binary convolutions if not said."""
    file = TFLiteFile(tflite)
    nodes = [node for node, name in enumerate(file.operators) if name == op]
    index = file.graph.operators[nodes[number]].inputs[place]
    tensor = file.graph.tensors[index]
    types = {file.schema.TensorType.FLOAT32: np.float32, file.schema.TensorType.INT32: np.int32}
    values = np.frombuffer(file.constant(index), types[tensor.type]).copy()
    values[...] = change(values.copy())
    buffer = file.schema.BufferT()
    buffer.data = values.view(np.uint8)
    file.content.buffers.append(buffer)
    tensor.buffer = len(file.content.buffers) - 1
    return written(file.content)


def of_first(change):
    """A change of the first value alone."""

    def changed(values):
        values[0] = change(values[0])
        return values

    return changed


def test_right_files(siman, bits):
    for (model, tflite), end in ((siman, "scores"), (bits, "mean")):
        found = proof(model, tflite, strict=True)
        assert str(found).startswith("equal")
        assert [(x.name, x.behind) for x in found.layers] == [("conv_0", ""), ("conv_1", "conv_0")]
        assert [(x.name, x.behind) for x in found.outputs] == [(end, "conv_1")]
        assert {layer.signs for layer in found.layers} == {8 * SIDE * SIDE * 32}
        assert all(part.roundings < 2 for part in (*found.layers, *found.outputs))


def test_a_right_file_of_a_nested_model():
    model = nested()
    found = proof(model, convert(model))
    assert str(found).startswith("equal")
    assert sorted(x.name for x in found.layers) == ["inner", "one", "other", "twice", "twice"]
    behind = {(layer.name, layer.behind) for layer in found.layers}
    assert behind == {
        ("inner", ""),
        ("twice", "inner"),
        ("twice", "twice"),
        ("one", "twice"),
        ("other", "twice"),
    }


def test_a_flipped_code(siman, bits):
    for model, tflite in (siman, bits):
        wrong = damaged(tflite, 1, of_first(lambda word: word ^ 16), number=1)
        found = proof(model, wrong)
        assert str(found).startswith("DIFFERENT: layer conv_1: 1 bit of its kernel is not the file")
        assert [layer.wrong_codes for layer in found.layers] == [0, 1]
        # It shows in what the layer gives, too.
        assert found.outputs[0].is_wrong


def test_wrong_thresholds(bits, tmp_path):
    model, tflite = bits
    wrong = damaged(tflite, 4, of_first(lambda threshold: threshold + 1))
    with pytest.raises(ConversionError, match=r"DIFFERENT: layer conv_1 \(behind conv_0\), image"):
        proof(model, wrong, strict=True)
    model.save(tmp_path / "model.keras")
    (tmp_path / "model.tflite").write_bytes(wrong)
    np.save(tmp_path / "images.npy", images(model))
    files = [str(tmp_path / name) for name in ("model.keras", "model.tflite", "images.npy")]
    result = CliRunner().invoke(main, ["verify", *files[:2], "--images", files[2], "--layers"])
    assert result.exit_code == 0
    assert "layer by layer                 DIFFERENT: layer conv_1" in result.output


@pytest.mark.parametrize(
    ("place", "change", "number"),
    [
        (2, lambda scales: scales * np.float32(1 + 1e-4), 0),
        (2, of_first(lambda scale: -scale), 0),
        (3, of_first(lambda bias: bias * np.float32(1.01)), 1),
    ],
)
def test_wrong_scales_and_biases(siman, place, change, number):
    """Also those that turn no sign."""
    model, tflite = siman
    found = proof(model, damaged(tflite, place, change, number))
    assert f"behind conv_{number}" in str(found).partition(",")[0] or not found.layers[1].is_wrong
    assert found.is_wrong


def test_a_file_of_another_model(siman):
    _, tflite = siman
    found = proof(residual(seed=3), tflite)
    assert str(found).startswith("DIFFERENT: layer conv_0: ")
    assert all(layer.is_wrong for layer in found.layers)
    x = inputs = tf.keras.Input((SIDE, SIDE, 32))
    x = layers.GlobalAveragePooling2D()(SiMaNConv2D(32, 3)(x))
    shallow = tf.keras.Model(inputs, layers.Dense(4, name="scores")(x))
    with pytest.raises(ValueError, match=r"another model: operator \d+ is a binary convolution"):
        proof(shallow, tflite)


def close_calls(mean, beta):
    """A model whose activations are `beta` where a sum is `mean`."""
    x = inputs = tf.keras.Input((SIDE, SIDE, 32))
    x = layers.BatchNormalization(scale=False, name="norm")(quant_conv("conv_0")(x))
    model = randomised(tf.keras.Model(inputs, quant_conv("conv_1")(x)))
    norm = model.get_layer("norm")
    norm.moving_mean.assign(tf.fill([32], mean))
    norm.beta.assign(tf.fill([32], beta))
    return model


def test_signs_within_rounding():
    model = close_calls(2.0, -1e-9)
    found = proof(model, convert(model), strict=True)
    assert str(found).startswith("equal up to rounding: 8 of 8 images, first differences at conv_1")
    assert found.layers[1].first_images == tuple(range(8))
    assert 0 < found.layers[1].different < 0.1 * found.layers[1].signs
    assert abs(found.layers[1].activation) < 1e-5
    assert found.layers[1].roundings < 2


def test_no_rounding_turns_an_exact_zero():
    model = close_calls(0.0, 0.0)
    tflite = damaged(convert(model), 3, lambda bias: bias - np.float32(1e-4))
    found = proof(model, tflite)
    assert "layer conv_1 (behind conv_0), image 0, activation 0, inf roundings" in str(found)


def test_what_it_cannot_do(siman):
    model, tflite = siman
    with pytest.raises(ValueError, match="layers=True needs runtime='siman'"):
        verify(model, tflite, images(model), layers=True)


def half_float():
    """A binary convolution, and behind it all that LCE has no 1-bit op for."""
    x = inputs = tf.keras.Input((SIDE, SIDE, 32))
    x = layers.BatchNormalization()(SiMaNConv2D(32, 3, name="conv")(x))
    spread = lq.layers.QuantDepthwiseConv2D(
        3, padding="same", input_quantizer="ste_sign", depthwise_quantizer="ste_sign", name="spread"
    )
    mixed = lq.layers.QuantConv2D(8, 3, strides=2, input_quantizer="ste_sign", name="mixed")
    x = layers.BatchNormalization()(mixed(layers.BatchNormalization()(spread(x))))
    x = layers.BatchNormalization()(quant_dense("dense", 40, levels=(0, 1))(layers.Flatten()(x)))
    x = layers.BatchNormalization(name="scores")(quant_dense("last", 4)(x))
    return randomised(tf.keras.Model(inputs, x))


def quant_dense(name, units, levels=(-1, 1), quantizer="sample_sign"):
    kernel = SiMaNQuantizer(levels)
    return lq.layers.QuantDense(
        units, input_quantizer=quantizer, kernel_quantizer=kernel, name=name
    )


FLOAT = ("spread", "mixed", "dense", "last")
BINARY_KERNELS = ("spread", "dense", "last")


@pytest.fixture(scope="module")
def floats():
    model = half_float()
    return model, convert(model, allow_float=BINARY_KERNELS)


def test_signs_that_go_into_float_ops(floats):
    found = proof(*floats, strict=True)
    assert str(found).startswith("equal")
    behind = [(layer.name, layer.behind) for layer in found.layers]
    assert behind == list(zip(("conv", *FLOAT), ("", "conv", *FLOAT[:-1]), strict=True))
    assert [layer.signs for layer in found.layers[-2:]] == [8 * 3 * 3 * 8, 8 * 40]
    assert found.outputs[0].behind == "last"
    assert all(part.roundings < 2 for part in (*found.layers, *found.outputs))


def test_an_old_runtime(floats, monkeypatch):
    """It tells of binary convolutions only."""
    traced = siman_runtime.Interpreter.traced.fget
    ops = TFLiteFile(floats[1]).graph.operators
    of_convolutions = property(
        lambda self: {n: bits for n, bits in traced(self).items() if len(ops[n].inputs) == 5}
    )
    monkeypatch.setattr(siman_runtime.Interpreter, "traced", of_convolutions)
    with pytest.raises(ValueError, match="go into layer spread, and the siman-runtime .* older"):
        proof(*floats)


def test_wrong_float_ops(floats):
    """Each is judged by itself."""
    model, tflite = floats

    def found(*damages):
        wrong = tflite
        for op, place, change, number in damages:
            wrong = damaged(wrong, place, change, number, op)
        return proof(model, wrong)

    ops = ("LceBconv2d", "DEPTHWISE_CONV_2D", "CONV_2D", "FULLY_CONNECTED")
    moved, turned = of_first(lambda value: value + 1), of_first(lambda value: -value)
    biases = [(op, 3 if op == "LceBconv2d" else 2, moved, 0) for op in ops]
    values = found(*biases, (ops[3], 1, lambda weights: weights * np.float32(1 + 1e-4), 1))
    assert str(values).startswith("DIFFERENT: layer spread (behind conv), image ")
    assert [layer.name for layer in values.layers if layer.is_wrong] == list(FLOAT)
    assert str(values.outputs[0]).startswith("output scores (behind last), image ")
    assert values.outputs[0].is_wrong
    kernels = found((ops[1], 1, turned, 0), (ops[3], 1, turned, 1))
    assert str(kernels).startswith("DIFFERENT: layer spread: 1 bit of its kernel is not the file's")
    assert [layer.wrong_codes for layer in kernels.layers] == [0, 1, 0, 0, 1]


def test_what_no_bits_show():
    x = inputs = tf.keras.Input((32,))
    several = quant_dense("several", 8, quantizer="dorefa_quantizer")
    x = layers.Activation(tf.sign, name="jumping")(several(layers.Dense(32)(x)))
    model = randomised(tf.keras.Model(inputs, layers.Dense(4)(x)))
    content = convert(model, allow_float=["several"])
    with pytest.raises(ValueError, match="compared in jumping, several is not.*leave layers out"):
        proof(model, content)
