"""The CIFAR networks: their size, their geometry, their files."""

import larq as lq
import numpy as np
import pytest
import tensorflow as tf

from siman_larq import SampleSign, SiMaNConv2D, SiMaNQuantizer, models
from siman_larq.choices import CIFAR_MODELS
from siman_larq.models import ChannelPaddedShortcut

NETWORKS = {
    name: getattr(models, name)
    for name in (*CIFAR_MODELS, "resnet18_imagenet", "resnet34_imagenet")
}


@pytest.mark.parametrize(
    ("name", "binary", "convolutions", "alpha", "trainable"),
    [
        ("resnet20", 267_264, 18, 672, 271_194),
        ("resnet8", 73_728, 6, 224, 75_866),
        ("resnet18", 11_157_504, 19, 4_736, 11_179_722),
        ("vgg_small", 4_571_136, 5, 1_664, 4_663_562),
        ("resnet18_imagenet", 10_985_472, 16, 3_840, 11_698_216),
        ("resnet34_imagenet", 21_086_208, 32, 7_552, 21_813_800),
    ],
)
def test_parameter_counts(name, binary, convolutions, alpha, trainable):
    model = NETWORKS[name]()
    layers = [layer for layer in model.layers if isinstance(layer, SiMaNConv2D)]
    assert len(layers) == convolutions
    assert sum(layer.kernel.shape.num_elements() for layer in layers) == binary
    assert sum(layer.alpha.shape.num_elements() for layer in layers) == alpha
    assert sum(w.shape.num_elements() for w in model.trainable_weights) == trainable
    assert sum(getattr(w, "precision", 32) == 1 for w in model.trainable_weights) == convolutions
    assert model.name == name


@pytest.mark.parametrize(
    ("name", "shape"),
    [
        ("resnet20", (28, 28, 1)),
        ("resnet20", (33, 33, 3)),
        ("vgg_small", (28, 28, 1)),
        pytest.param("vgg_small", (33, 33, 3), marks=pytest.mark.slow),
        pytest.param("resnet18", (28, 28, 1), marks=pytest.mark.slow),
        ("resnet18", (33, 33, 3)),
    ],
)
def test_other_images_and_classes(name, shape):
    model = NETWORKS[name](input_shape=shape, num_classes=100)
    logits = model(tf.random.normal([2, *shape]))
    assert logits.shape == (2, 100)
    assert np.isfinite(logits).all()


@pytest.mark.parametrize("shape", [(4, 4, 3), (9, 5, 1)])
def test_small_images(shape):
    assert models.resnet20(shape, 2)(tf.random.normal([1, *shape])).shape == (1, 2)


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"input_shape": (32, 32)}, r"must be \(height, width, channels\)"),
        ({"input_shape": (None, None, 3)}, "must be"),
        ({"input_shape": (32, 32, 0)}, "must be"),
        ({"input_shape": (32, 3, 3)}, "too small"),
        ({"input_shape": 32}, "input_shape=32 must be"),
        ({"num_classes": 1}, "num_classes=1 must be 2 or more"),
        ({"num_classes": 2.9}, "num_classes=2.9 must be 2 or more, and whole"),
        ({"num_classes": "10"}, "num_classes='10' must be"),
        ({"input_shape": (32, 32, True)}, "must be"),
    ],
)
def test_errors(name, arguments, message):
    with pytest.raises(ValueError, match=message):
        NETWORKS[name](**arguments)


@pytest.mark.parametrize("name", ["resnet20", "vgg_small"])
def test_conv_argument(name):
    made = []

    def conv(filters, kernel_size, **kwargs):
        made.append(kwargs["name"])
        quantizer = SiMaNQuantizer(levels=(0, 1))
        return SiMaNConv2D(filters, kernel_size, kernel_quantizer=quantizer, **kwargs)

    model = NETWORKS[name](conv=conv)
    found = [layer for layer in model.layers if isinstance(layer, SiMaNConv2D)]
    assert {layer.name for layer in found} == set(made)
    assert all(layer.kernel_quantizer.levels == (0, 1) for layer in found)


# --- shortcuts -------------------------------------------------------------------------------


def centres(size):
    """Where a stride-2, 3-wide "same" convolution of ones at its centre looks."""
    kernel = np.zeros((3, 1, 1), np.float32)
    kernel[1] = 1
    line = np.arange(size, dtype=np.float32)[np.newaxis, :, np.newaxis]
    return tf.nn.conv1d(line, kernel, 2, "SAME").numpy().astype(int).ravel()


@pytest.mark.parametrize("height", [4, 5, 32, 33])
@pytest.mark.parametrize("width", [6, 7])
def test_padded_shortcut_is_aligned(height, width):
    maps = np.random.default_rng(0).normal(size=(2, height, width, 4)).astype(np.float32)
    outputs = ChannelPaddedShortcut(8)(maps).numpy()
    expected = maps[:, centres(height)][:, :, centres(width)]
    np.testing.assert_array_equal(outputs[..., 2:6], expected)
    np.testing.assert_array_equal(outputs[..., [0, 1, 6, 7]], 0)


@pytest.mark.parametrize(
    ("filters", "shape", "sentence"),
    [
        (9, (4, 4, 4), "filters=9 cannot be had from 4 channels"),
        (2, (4, 4, 4), "filters=2 cannot be had from 4 channels"),
        (8, (None, None, 4), "give maps .* of a known size"),
    ],
)
def test_padded_shortcut_of_what_it_cannot_pad(filters, shape, sentence):
    with pytest.raises(ValueError, match=sentence):
        ChannelPaddedShortcut(filters)(tf.keras.Input(shape))


@pytest.mark.parametrize("size", [8, 9])
def test_binary_shortcut_is_aligned(size):
    model = models.resnet18((size, size, 3))
    signs = model.get_layer("layer2.0.shortcut.sign")
    convolution = model.get_layer("layer2.0.shortcut.0")
    probe = tf.keras.Model(model.input, [signs.input, convolution.output])
    maps, outputs = probe(tf.random.normal([2, size, size, 3]))
    signs = SampleSign()(maps).numpy()[:, centres(size)][:, :, centres(size)]
    with lq.context.quantized_scope(True):
        kernel = convolution.kernel.numpy()[0, 0]
    np.testing.assert_allclose(outputs, signs @ kernel * convolution.alpha.numpy(), atol=1e-4)


# --- files -----------------------------------------------------------------------------------


def save_and_load(model, folder, form):
    path = str(folder / "model") + {"keras": ".keras", "h5": ".h5", "saved_model": ""}[form]
    model.save(path, **({"save_format": "tf"} if form == "saved_model" else {}))
    return tf.keras.models.load_model(path)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "form"), [("resnet20", "keras"), ("resnet20", "h5"), ("resnet8", "saved_model")]
)
def test_a_network_survives_a_file(tmp_path, name, form):
    model, images = NETWORKS[name](), tf.random.normal([4, 32, 32, 3])
    loaded = save_and_load(model, tmp_path, form)
    np.testing.assert_array_equal(loaded(images), model(images))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["resnet20", "resnet18", "vgg_small"])
def test_a_step_changes_every_weight(name):
    model = NETWORKS[name]((8, 8, 3))
    loss = tf.keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    # One step is not worth a graph.
    model.compile(tf.keras.optimizers.SGD(0.1), loss, run_eagerly=True)
    before = [weight.numpy() for weight in model.trainable_weights]
    model.fit(tf.random.normal([8, 8, 8, 3]), tf.range(8), verbose=0)
    for weight, old in zip(model.trainable_weights, before, strict=True):
        assert np.isfinite(weight.numpy()).all(), weight.name
        assert (weight.numpy() != old).any(), weight.name


def test_imagenet_normalisations_start_near_zero():
    """All of maps, as in the official code; not that of the features."""
    model = models.resnet18_imagenet((32, 32, 3), 10)
    gammas = {
        layer.name: layer.gamma.numpy()
        for layer in model.layers
        if isinstance(layer, tf.keras.layers.BatchNormalization)
    }
    assert len(gammas) == 1 + 16 + 3 + 1
    np.testing.assert_array_equal(gammas.pop("bn2"), 1)
    for name, gamma in gammas.items():
        np.testing.assert_allclose(gamma, 1e-8, err_msg=name)
    shortcuts = [layer for layer in model.layers if layer.name.endswith("shortcut.0")]
    assert len(shortcuts) == 3
    assert not any(isinstance(layer, SiMaNConv2D) for layer in shortcuts)
