"""Files of binary weights: equal outputs, their size, and what happens to damaged ones."""

import dataclasses
import hashlib
import io
import json
import re
import subprocess
import sys
import tracemalloc
import warnings
import zipfile

import larq as lq
import numpy as np
import pytest
import tensorflow as tf
from click.testing import CliRunner

import siman_larq
import siman_larq_cli
from siman_larq import SiMaNConv2D, SiMaNQuantizer, load_binary, models, save_binary
from siman_larq.bits import BinaryFileError, read
from siman_larq.bits.file import contents, packed

layers = tf.keras.layers
BINARY = {"padding": "same", "kernel_quantizer": "ste_sign", "input_quantizer": "ste_sign"}


@lq.utils.register_keras_custom_object
class OwnScale(lq.quantizers.Quantizer):
    """Signs times each filter's largest magnitude."""

    precision = 1

    def call(self, inputs):
        axes = list(range(len(inputs.shape) - 1))
        return lq.math.sign(inputs) * tf.reduce_max(tf.abs(inputs), axes, keepdims=True)


class LooksAtLatentWeights(lq.layers.QuantConv2D):
    def call(self, inputs):
        with lq.context.quantized_scope(False):
            scale = tf.reduce_mean(tf.abs(tf.convert_to_tensor(self.kernel)))
        return super().call(inputs) * scale


def trained(model, seed=0):
    """A model with weights as if it had been trained, all of them other than at the start."""
    rng = np.random.default_rng(seed)
    for weight in model.weights:
        values = weight.numpy() + rng.normal(0, 0.1, weight.shape)
        weight.assign(np.abs(values) if "variance" in weight.name else values)
    return model


def written(model, folder):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        save_binary(model, folder / "model.npz")
    return folder / "model.npz"


def outputs(model):
    shape = [size or 8 for size in model.input_shape[1:]]
    images = np.random.default_rng(1).normal(size=(4, *shape)).astype("float32")
    return np.asarray(model(images, training=False))


def assert_equal_outputs(model, other):
    np.testing.assert_array_equal(outputs(model), outputs(other))


def theory(model):
    """Bytes at 1 bit a binary weight and 32 bits any other."""
    counts = {1: 0, 32: 0}
    for weight in model.weights:
        counts[getattr(weight, "precision", 32)] += weight.shape.num_elements()
    return counts[1] / 8 + 4 * counts[32]


def every_kind(quantizer, depthwise=None):
    """A layer of every kind that Larq has."""
    depthwise = depthwise or quantizer
    kinds = lq.layers
    return tf.keras.Sequential(
        [
            layers.Input((6, 6, 4)),
            kinds.QuantConv2D(8, 3, padding="same", kernel_quantizer=quantizer),
            layers.BatchNormalization(),
            kinds.QuantConv2DTranspose(5, 3, padding="same", kernel_quantizer=quantizer),
            kinds.QuantDepthwiseConv2D(3, padding="same", depthwise_quantizer=depthwise),
            kinds.QuantSeparableConv2D(
                6, 3, depthwise_quantizer=depthwise, pointwise_quantizer=quantizer
            ),
            kinds.QuantLocallyConnected2D(4, 3, kernel_quantizer=quantizer),
            layers.Flatten(),
            kinds.QuantDense(5, kernel_quantizer=quantizer),
        ]
    )


# --- there and back ----------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("name", ["resnet20", "vgg_small"])
def test_the_papers_networks(name, tmp_path):
    model = trained(getattr(models, name)())
    path = written(model, tmp_path)
    assert path.stat().st_size <= 1.02 * theory(model) + 4096
    check_return(model, path)
    # Weights that are levels are written as the weights they came from.
    content = path.read_bytes()
    assert written(model, tmp_path).read_bytes() == content


def check_return(model, path, whole=None):
    """Gives a model, or the whole that it is a part of, other weights, then those of the file."""
    before = outputs(model)
    trained(whole or model, seed=1)
    assert not np.array_equal(outputs(model), before)
    load_binary(whole or model, path)
    np.testing.assert_array_equal(outputs(model), before)


@pytest.mark.parametrize("quantizer", ["siman", "ste_sign", OwnScale])
def test_every_kind_of_layer(quantizer, tmp_path):
    if quantizer is OwnScale:
        model = trained(every_kind(OwnScale(), "siman_pm1"))
    else:
        model = trained(every_kind(quantizer))
    path = written(model, tmp_path)
    binary = [weight for weight in read(path) if weight.is_binary]
    assert len(binary) == 7
    assert all(weight.code is not None for weight in binary)
    check_return(model, path)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "levels"), [("BinaryAlexNet", (-1, 1)), ("QuickNetSmall", (0, 1))]
)
def test_networks_of_larq_zoo(name, levels, tmp_path):
    network = getattr(siman_larq.zoo, name)
    model = trained(network(input_shape=(64, 64, 3), num_classes=10, levels=levels))
    path = written(model, tmp_path)
    assert path.stat().st_size <= 1.02 * theory(model) + 4096
    # Such weights give probabilities of 0 and 1, so what they are made of is looked at.
    check_return(tf.keras.Model(model.input, model.layers[-3].output), path, model)


def nested(levels=(-1, 1), threshold="median"):
    """A layer that is used twice, within a model that is used twice, and one in a wrapper."""

    def quantizer():
        return SiMaNQuantizer(levels, threshold)

    shared = SiMaNConv2D(4, 3, kernel_quantizer=quantizer(), name="shared")
    inner = tf.keras.Sequential([layers.Input((8, 8, 4)), shared, layers.BatchNormalization()])
    inputs = layers.Input((8, 8, 4))
    x = shared(inner(inner(inputs)))
    dense = lq.layers.QuantDense(3, kernel_quantizer=quantizer(), name="dense")
    return tf.keras.Model(inputs, layers.TimeDistributed(dense)(x))


def test_nested_and_shared_layers(tmp_path):
    model, other = trained(nested((0, 1), "angle")), nested((0, 1), "angle")
    model.layers[1].trainable = False  # which changes Keras's order of weights
    before = [weight.numpy() for weight in model.weights]
    load_binary(other, written(model, tmp_path))
    for weight, values in zip(model.weights, before, strict=True):
        np.testing.assert_array_equal(weight.numpy(), values)  # saving changes nothing
    assert_equal_outputs(model, other)
    assert sum(weight.name == "kernel" for weight in read(tmp_path / "model.npz")) == 2


@pytest.mark.parametrize("policy", ["mixed_float16", "float64"])
def test_other_types(policy, tmp_path):
    """A layer under mixed precision codes its weights as they are once they are rounded."""
    tf.keras.mixed_precision.set_global_policy(policy)
    dense = lq.layers.QuantDense(64, kernel_quantizer="siman_pm1")
    model = trained(tf.keras.Sequential([layers.Input((500,)), dense]))
    check_return(model, written(model, tmp_path))


def test_what_is_no_float_and_what_is_computed_from_weights(tmp_path):
    def make(count):
        norm = layers.Normalization()
        if count:
            norm.adapt(np.random.default_rng(0).normal(3, 2, (count, 8, 4)))
        two_bits = lq.quantizers.DoReFa(2, mode="weights")
        return tf.keras.Sequential(
            [layers.Input((8, 4)), norm, lq.layers.QuantConv1D(2, 3, kernel_quantizer=two_bits)]
        )

    model, other = make(20), make(0)
    load_binary(other, written(model, tmp_path))
    assert_equal_outputs(model, other)
    count, kernel = (
        weight for weight in read(tmp_path / "model.npz") if weight.name in "count kernel"
    )
    assert count.dtype == model.layers[0].count.dtype.name
    assert (kernel.quantizer, kernel.code) == (("DoReFa", 2), None)
    np.testing.assert_array_equal(kernel.values, model.layers[1].get_weights()[0])


def test_metrics_are_no_weights(tmp_path):
    with lq.context.metrics_scope(["flip_ratio"]):
        model = small()
    model.compile("sgd", "mse", metrics=["mae"])
    model.evaluate(np.zeros((2, 8, 8, 5)), np.zeros((2, 8, 8, 5)), verbose=0)
    other = small()
    load_binary(other, written(trained(model), tmp_path))
    assert_equal_outputs(model, other)
    assert len(read(tmp_path / "model.npz")) == len(model.weights) == 8


@pytest.mark.parametrize(
    ("layer", "reason"),
    [
        (
            lambda: lq.layers.QuantConv2D(4, 3, kernel_quantizer="magnitude_aware_sign", name="x"),
            "its quantizer makes another code of the code",
        ),
        (
            lambda: LooksAtLatentWeights(4, 3, kernel_quantizer="ste_sign", name="x"),
            "the model looks at its latent weights",
        ),
    ],
)
def test_latent_weights_are_kept_where_codes_are_not_enough(layer, reason, tmp_path):
    def make():
        return tf.keras.Sequential([layers.Input((8, 8, 7)), SiMaNConv2D(7, 3), layer()])

    model, other = trained(make()), make()
    with pytest.warns(UserWarning, match=re.escape(f"'x' ({reason}).")):
        save_binary(model, tmp_path / "model.npz")
    load_binary(other, tmp_path / "model.npz")
    assert_equal_outputs(model, other)
    coded = [weight.code is not None for weight in read(tmp_path / "model.npz") if weight.is_binary]
    assert coded == [True, False]


def test_numpy_alone_reads_it(tmp_path):
    """As README shows it."""
    model = trained(every_kind("siman_pm1"))
    file = np.load(written(model, tmp_path))
    kernels = [w for w in json.loads(bytes(file["header"]))["weights"] if w["array"] == "bits"]
    for kernel in kernels:
        bits = np.unpackbits(file["bits"][kernel["start"] :], count=np.prod(kernel["shape"]))
        bits = bits.reshape(kernel["shape"])
        [layer] = [layer for layer in model.layers if layer.name == kernel["layer"]]
        with lq.context.quantized_scope(True):
            code = getattr(layer, kernel["name"]).numpy()
        np.testing.assert_array_equal(np.array(kernel["levels"])[bits], code)


# --- what does not fit -------------------------------------------------------------------------


def small(names=("a", "b"), size=3, levels=(-1, 1), norm=layers.BatchNormalization, more=()):
    return tf.keras.Sequential(
        [
            layers.Input((8, 8, 5)),
            *(
                SiMaNConv2D(5, size, kernel_quantizer=SiMaNQuantizer(levels), name=name)
                for name in names
            ),
            norm(name="norm"),
            *more,
        ]
    )


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    return written(trained(small()), tmp_path_factory.mktemp("bits"))


def refused(model, path):
    before = [weight.numpy() for weight in model.weights]
    with pytest.raises(BinaryFileError) as error:
        load_binary(model, path)
    for weight, values in zip(model.weights, before, strict=True):
        np.testing.assert_array_equal(weight.numpy(), values)
    assert str(path) in str(error.value)
    return str(error.value)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"size": 1}, "'kernel' of layer 'a' is of shape (3, 3, 5, 5) in it and (1, 1, 5, 5) in"),
        ({"levels": (0, 1)}, "'kernel' of layer 'a' has levels from -1 to 1 in it, of which"),
        ({"names": ("a", "c")}, "where it has 'kernel' of layer 'b' (SiMaNConv2D), the model has"),
        ({"names": "a"}, "where it has 'kernel' of layer 'b' (SiMaNConv2D), the model has 'gamma'"),
        ({"names": "ba"}, "where it has 'kernel' of layer 'a' (SiMaNConv2D), the model has"),
        ({"norm": layers.LayerNormalization}, "'norm' (BatchNormalization), the model has"),
        ({"more": [layers.Dense(2, name="d")]}, "it lacks 'kernel' of layer 'd' (Dense)"),
    ],
)
def test_models_that_do_not_fit(arguments, sentence, file):
    model = small(**arguments)
    message = refused(model, file)
    assert message.startswith(f"{file} does not fit model {model.name!r}, which is unchanged: ")
    assert sentence in message
    assert message.endswith("; build it as the one that was saved.")


def test_more_that_does_not_fit(tmp_path):
    more = written(trained(small(more=[layers.Dense(2, name="d")])), tmp_path)
    assert "the model lacks 'kernel' of layer 'd' (Dense)" in refused(small(), more)
    numbered = written(trained(small(("c_1", "c_2"))), tmp_path)
    message = refused(small(("c_2", "c_1")), numbered)
    assert "in another order, with 'c_1' where the model has 'c_2'" in message

    def quantized(bits):
        quantizer = lq.quantizers.DoReFa(bits, mode="weights")
        dense = lq.layers.QuantDense(3, kernel_quantizer=quantizer)
        return tf.keras.Sequential([layers.Input((4,)), dense])

    two = written(quantized(2), tmp_path)
    message = refused(quantized(3), two)
    assert "has the quantizer DoReFa (2 bits) in it and the quantizer DoReFa (3 bits)" in message


def of_settings(conv=None, pool=layers.MaxPool2D, more=(), activation="relu", epsilon=1e-3):
    """A network of which settings that no weight shows can be changed."""
    return tf.keras.Sequential(
        [
            layers.Input((8, 8, 4)),
            lq.layers.QuantConv2D(4, 3, **BINARY | (conv or {}), name="conv"),
            layers.BatchNormalization(epsilon=epsilon, momentum=0.9, name="norm"),
            pool(2),
            layers.Activation(activation, name="activation"),
            *more,
        ]
    )


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"conv": {"strides": 2}}, "layer 'conv' has strides=[1, 1] in it and strides=[2, 2] in"),
        ({"conv": {"pad_values": 1.0}}, "has pad_values=0.0 in it and pad_values=1.0 in the model"),
        ({"conv": {"padding": "valid"}}, "has padding='same' in it and padding='valid' in the"),
        ({"conv": {"activation": "relu"}}, "has activation='linear' in it and activation='relu'"),
        (
            {"conv": {"dilation_rate": 2}},
            "layer 'conv' has dilation_rate=[1, 1] in it and dilation",
        ),
        (
            {"conv": {"input_quantizer": "ste_heaviside"}},
            "has input_quantizer='SteSign' in it and input_quantizer='SteHeaviside' in the model",
        ),
        (
            {"conv": {"input_quantizer": None}},
            "has input_quantizer='SteSign' in it and input_quantizer=None in the model",
        ),
        (
            {"conv": {"input_quantizer": lambda x: tf.sign(x - 0.55)}},
            "has input_quantizer='SteSign' in it and input_quantizer='<lambda>' in the model",
        ),
        ({"epsilon": 1e-5}, "layer 'norm' has epsilon=0.001 in it and epsilon=1e-05 in the model"),
        ({"pool": layers.AvgPool2D}, "where it has a MaxPooling2D, the model has layer 'average_"),
        ({"activation": "tanh"}, "'activation' has activation='relu' in it and activation='tanh'"),
        ({"more": [layers.ReLU(name="end")]}, "it lacks layer 'end'"),
    ],
)
def test_settings_that_no_weight_shows(settings, sentence, tmp_path):
    """With which the weights fit, and the outputs are others."""
    message = refused(of_settings(**settings), written(trained(of_settings()), tmp_path))
    assert sentence in message
    assert message.endswith("; build it as the one that was saved.")
    back = written(trained(of_settings(**settings)), tmp_path)
    assert "does not fit model" in refused(of_settings(), back)


def test_codes_with_the_common_mode_taken_off(tmp_path):
    def network(centred):
        conv = SiMaNConv2D(5, 3, kernel_quantizer=SiMaNQuantizer((0, 1)), centred=centred, name="c")
        return tf.keras.Sequential([layers.Input((8, 8, 5)), conv])

    message = refused(network(False), written(network(True), tmp_path))
    assert "layer 'c' has centred=True in it and centred=False in the model" in message


@pytest.mark.parametrize(
    "settings",
    [
        {"conv": {"input_quantizer": "approx_sign"}},  # another gradient, the same signs
        {"conv": {"kernel_initializer": "zeros", "kernel_constraint": "weight_clip"}},
        {"more": [layers.Dropout(0.5), layers.GaussianNoise(0.1)]},
    ],
)
def test_settings_of_training_alone(settings, tmp_path):
    model, other = trained(of_settings(**settings)), of_settings()
    load_binary(other, written(model, tmp_path))
    assert_equal_outputs(model, other)
    load_binary(of_settings(**settings), written(model, tmp_path))


def test_settings_of_layers_within_others(tmp_path):
    """Also where Keras gave them their names, with numbers."""

    class Block(layers.Layer):
        def __init__(self, strides):
            super().__init__()
            self.conv = lq.layers.QuantConv2D(4, 3, strides, "same", kernel_quantizer="ste_sign")
            self.time = layers.TimeDistributed(layers.Dense(3, activation=layers.LeakyReLU()))

        def call(self, inputs):
            return self.time(self.conv(inputs))

    def network(strides=1):
        return tf.keras.Sequential([layers.Input((8, 8, 4)), Block(strides), layers.Flatten()])

    path = written(trained(network()), tmp_path)
    load_binary(network(), path)
    assert "has strides=1 in it and strides=2 in the model" in refused(network(2), path)
    kinds = [described.kind for described in contents(path).layers]
    assert kinds == ["Block", "QuantConv2D", "TimeDistributed", "Dense", "LeakyReLU", "Flatten"]


def of_wiring(shortcut="first", scale=0.5, times=1, swapped=False, cut=0.1, axis=-1):
    """A network of which layers can follow others, with the same weights."""
    inputs = layers.Input((8, 8, 4))
    first = layers.BatchNormalization(name="first")(inputs)
    kept = layers.Dropout(cut)(first) if cut else first
    x = layers.BatchNormalization(name="second")(lq.layers.QuantConv2D(4, 3, **BINARY)(kept))
    x = layers.Add(name="add")([x, {"first": first, "input": inputs}[shortcut]]) * scale
    last = lq.layers.QuantConv2D(4, 3, **BINARY, name="last")
    for _ in range(times):
        x = last(x)
    mean = layers.GlobalAvgPool2D(name="mean")(tf.concat([x, first], axis))
    given = [mean, layers.ReLU(name="above")(mean)]
    return tf.keras.Model(inputs, given[::-1] if swapped else given)


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        (
            {"shortcut": "input"},
            "layer 'add' follows 'second' and 'first' in it and 'second' and input 0 in the model",
        ),
        ({"scale": 0.25}, "is called with y=0.5 in it and y=0.25 in the model"),
        ({"scale": np.full((8, 8, 4), 0.25)}, "is called with y=0.5 in it and y='"),
        ({"times": 2}, "layer 'last' is called 1 times in it and 2 times in the model"),
        ({"axis": 1}, "is called with axis=-1 in it and axis=1 in the model"),
        ({"swapped": True}, "it gives 'mean' and 'above', and the model gives 'above' and 'mean'"),
    ],
)
def test_layers_that_follow_others(settings, sentence, tmp_path):
    message = refused(of_wiring(**settings), written(trained(of_wiring()), tmp_path))
    assert sentence in message
    assert "does not fit" in refused(of_wiring(), written(trained(of_wiring(**settings)), tmp_path))


def test_the_same_wiring(tmp_path):
    """However Keras keeps it, and without layers that only train."""
    model = trained(of_wiring())
    path = written(model, tmp_path)
    model.save(tmp_path / "model.keras")
    for other in (
        of_wiring(cut=0),
        tf.keras.models.clone_model(model),
        tf.keras.models.load_model(tmp_path / "model.keras"),
        tf.keras.Model(model.inputs, model.outputs),
    ):
        load_binary(trained(other, seed=1), path)
    mask = np.linspace(0, 1, 256, dtype=np.float32).reshape(8, 8, 4)
    masked = written(trained(of_wiring(scale=mask)), tmp_path)
    load_binary(tf.keras.models.clone_model(of_wiring(scale=tf.constant(mask))), masked)
    assert "is called with y='" in refused(of_wiring(scale=mask + 0.5), masked)
    again = written(tf.keras.models.load_model(tmp_path / "model.keras"), tmp_path)
    load_binary(of_wiring(), again)


def test_models_within_models_have_the_same_wiring(tmp_path):
    """As one model, in parts, one after another or as a graph."""

    def parts():
        yield [lq.layers.QuantConv2D(4, 3, **BINARY, name="conv"), layers.ReLU(name="relu")]
        yield [layers.BatchNormalization(name="norm"), layers.Flatten(name="flat")]

    def graph(those):
        inputs = x = layers.Input((8, 8, 4))
        for layer in those:
            x = layer(x)
        return tf.keras.Model(inputs, x)

    def flat():
        return [layer for part in parts() for layer in part]

    path = written(trained(graph(flat())), tmp_path)
    load_binary(tf.keras.Sequential([layers.Input((8, 8, 4)), *flat()]), path)
    load_binary(graph([tf.keras.Sequential(part) for part in parts()]), path)
    first, second = parts()
    nested = tf.keras.Sequential([graph(first), *second])
    load_binary(nested, path)
    assert contents(written(nested, tmp_path)).outputs == ["3:0:0"]


def of_calls(training=None, inner=None, masked=False):
    """A network whose layers can be called as in training, and with a mask."""
    inputs, other = layers.Input((8, 4), name="a"), layers.Input((8,), dtype=bool, name="b")
    x = layers.BatchNormalization(name="outer")(inputs, training=training)
    norm = layers.BatchNormalization(name="inner")
    x = tf.keras.Sequential([layers.Input((8, 4)), norm, layers.Dropout(0.5)])(x, training=inner)
    mean = layers.GlobalAveragePooling1D(name="mean")(x, mask=other if masked else None)
    return tf.keras.Model([inputs, other], mean)


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        (
            {"training": True},
            "layer 'outer' is called with training='its default' in it and training=True",
        ),
        (
            {"inner": True},
            "layer 'inner' is called with training='its default' in it and training=True",
        ),
        ({"masked": True}, "layer 'mean' follows 'inner' in it and 'inner' and input 1 in"),
    ],
)
def test_layers_called_as_in_training_or_with_a_mask(settings, sentence, tmp_path):
    path, other = written(trained(of_calls()), tmp_path), of_calls(**settings)
    assert sentence in refused(other, path)
    assert "does not fit" in refused(of_calls(), written(trained(other), tmp_path))
    other.save(tmp_path / "model.keras")
    load_binary(tf.keras.models.load_model(tmp_path / "model.keras"), written(other, tmp_path))
    load_binary(tf.keras.models.clone_model(other), written(other, tmp_path))


def test_calls_that_make_no_difference(tmp_path):
    path = written(trained(of_calls()), tmp_path)
    load_binary(of_calls(training=False, inner=False), path)
    # Masks that Keras passes on by itself.
    recurrent = [layers.Masking(), layers.LSTM(3, return_sequences=True), layers.LSTM(2)]
    path = written(trained(tf.keras.Sequential([layers.Input((8, 4)), *recurrent])), tmp_path)
    masking, first, second = (type(layer).from_config(layer.get_config()) for layer in recurrent)
    inputs = layers.Input((8, 4))
    load_binary(tf.keras.Model(inputs, second(first(masking(inputs)))), path)


def test_files_without_settings(tmp_path):
    """Which older versions wrote."""
    path = written(trained(of_settings()), tmp_path)
    saved = contents(path)
    assert len(saved.layers) == 4
    path.write_bytes(packed(dataclasses.replace(saved, layers=[], outputs=None)))
    assert {"layers", "outputs"}.isdisjoint(header_of(path))
    load_binary(of_settings(activation="tanh"), path)


def test_tables(tmp_path):
    """What Discretization has learned comes back; a table of words is refused."""
    values = np.linspace(-1, 1, 64, dtype=np.float32)[:, np.newaxis]

    def model(layer):
        return tf.keras.Sequential([layers.Input((1,)), layer])

    learned, empty = (model(layers.Discretization(num_bins=5)) for _ in range(2))
    learned.layers[0].adapt(values)
    load_binary(empty, written(learned, tmp_path))
    np.testing.assert_array_equal(empty(values), learned(values))
    lookup = layers.IntegerLookup(max_tokens=5, name="words")
    lookup.adapt(np.arange(3))
    with pytest.raises(ValueError, match="'words', a IntegerLookup, keeps what it has learned in"):
        save_binary(model(lookup), tmp_path / "words.npz")


@pytest.mark.parametrize("name", ["folder.npz", "missing/model.npz"])
def test_places_that_cannot_be_written(name, tmp_path):
    (tmp_path / "folder.npz").mkdir()
    with pytest.raises(OSError, match=re.escape(str(tmp_path / name)) + "'$"):
        save_binary(small(), tmp_path / name)
    assert [path.name for path in tmp_path.iterdir()] == ["folder.npz"]


def test_a_link_stays_one(tmp_path):
    there, link = tmp_path / "there.npz", tmp_path / "link.npz"
    link.symlink_to(there)
    save_binary(small(), link)
    assert link.is_symlink()
    assert there.is_file()


def test_what_cannot_be_saved(tmp_path):
    with pytest.raises(TypeError, match="is no tf.keras.Model"):
        save_binary(layers.Dense(2), tmp_path / "model.npz")
    with pytest.raises(ValueError, match=re.escape("must end in .npz")):
        save_binary(small(), tmp_path / "model.keras")
    unbuilt = tf.keras.Sequential([layers.Dense(2)])
    for act in (save_binary, load_binary):
        with pytest.raises(ValueError, match="has no weights yet"):
            act(unbuilt, tmp_path / "model.npz")
    model = small()
    kernel = model.get_layer("b").get_weights()[0]
    kernel[0, 0, 0, 0] = np.nan
    model.get_layer("b").kernel.assign(kernel)
    with pytest.raises(ValueError, match="1 of the 225 weights 'kernel' of layer 'b' are NaN"):
        save_binary(model, tmp_path / "model.npz")
    assert list(tmp_path.iterdir()) == []


# --- damage ------------------------------------------------------------------------------------


def sealed(body):
    """Bytes with the SHA-256 that they should have, as somebody who means harm makes them."""
    return body[:-64] + hashlib.sha256(body[:-64]).hexdigest().encode()


def archive(parts, comment=b"siman-larq SHA-256 " + bytes(64), compression=zipfile.ZIP_STORED):
    stream = io.BytesIO()
    with warnings.catch_warnings(), zipfile.ZipFile(stream, "w", compression) as made:
        warnings.simplefilter("ignore")  # of names that are there twice
        for name, content in parts:
            made.writestr(name, content)
        made.comment = comment
    return sealed(stream.getvalue())


def npy(array, **header):
    stream = io.BytesIO()
    np.lib.format.write_array(stream, np.asarray(array), (1, 0), allow_pickle=True)
    content = stream.getvalue()
    for key, value in header.items():
        content = re.sub(
            rf"'{key}': [^,]+,".encode(), f"'{key}': {value},".encode(), content, count=1
        )
    return content


def header_of(file):
    return json.loads(bytes(np.load(file)["header"]))


def hostile(file):
    """Files with the right SHA-256 that are wrong in all else."""
    with zipfile.ZipFile(file) as whole:
        parts = {name: whole.read(name) for name in whole.namelist()}
    names = list(parts)

    def put(**changed):
        return archive([(name, changed.get(name[:-4], content)) for name, content in parts.items()])

    def header(**changed):
        content = json.dumps(header_of(file) | changed).encode()
        return put(header=npy(np.frombuffer(content, np.uint8)))

    def entry(number=0, **changed):
        entries = header_of(file)["weights"]
        entries[number] |= changed
        return header(weights=entries)

    yield "foreign", put(header=npy(np.frombuffer(b'{"format": "other"}', np.uint8)))
    yield "pickle", put(float32=npy(np.array([print], object)))
    yield "pickled header", put(header=npy(np.array([{}], object)))
    yield "huge shape", put(float32=npy(np.zeros(1, "f4"), shape=f"({10**12},)"))
    yield "negative shape", put(float32=npy(np.zeros(1, "f4"), shape="(-1,)"))
    yield "no shape", put(bits=npy(np.zeros(1, "u1"), shape="print()"))
    yield "other dtype", put(bits=npy(np.zeros(4, "i8")))
    yield "matrix", put(float32=npy(np.zeros((2, 2), "f4")))
    yield "no npy", put(float32=b"12")
    yield "deep", put(header=npy(np.frombuffer(b"[" * 10**5, np.uint8)))
    yield "numbers", put(header=npy(np.frombuffer(b'{"version": ' + b"9" * 10**4 + b"}", np.uint8)))
    yield "bomb", archive([("header.npy", npy(np.zeros(2**25, np.uint8)))], compression=8)
    yield "float bomb", archive([("float32.npy", npy(np.zeros(2**22, "f4")))], compression=8)
    yield "not all", archive(list(parts.items())[:-1])
    yield "twice", archive([*parts.items(), *parts.items()])
    yield "another part", archive([*parts.items(), ("../x.npy", b"")])
    yield "swapped", archive(list(zip(names, reversed(parts.values()), strict=True)))
    yield "no archive", sealed(b"PK\x03\x04" + bytes(40) + b"siman-larq SHA-256 " + bytes(64))
    for version in (None, 0, "1", True, 1.5, [1]):
        yield f"version {version}", header(version=version)
    for weights in (None, {}, [None], [[]], ["a"], []):
        yield f"weights {weights}", header(weights=weights)
    yield "bit order", header(bit_order="little")
    for value in (None, {}, [None], ["a"], [{}], [{"layer": "a", "class": "b", "settings": []}]):
        yield f"layers {value}", header(layers=value)
    for settings in ({"strides": [7, 7]}, {"pad_values": {"a": "x" * 10**4}}, {"epsilon": 10**400}):
        described = header_of(file)["layers"]
        described[-1]["settings"] |= settings | {"axis": None}
        yield f"settings {list(settings)}", header(layers=described)
    one = "9" * 5000 + ":0:0"
    for calls in (None, {}, ["0:0:0"], [], [{}], [{"inputs": one}], [{"inputs": "99:0:0"}]):
        described = header_of(file)["layers"]
        described[-1]["calls"] = calls
        yield f"calls {calls!r:.40}", header(layers=described)
    for given in ({}, [1], [], ["99:0:0"], [one]):
        yield f"outputs {given!r:.40}", header(outputs=given)
    for key, values in {
        "shape": ([], [3, 3, 5], [-3, 3, 5, 5], [3, 3, 5, 2**70], [2**40] * 9, [3.0, 3, 5, 5], "x"),
        "start": (1, -1, 2**70, None, 0.0, True),
        "array": ("float32", "header", "int64", None, ["bits"]),
        "dtype": ("object", "float31", None, "int8", 7),
        "levels": ([0.0], [float("nan"), 1.0], [1e300, 1.0], "ab", {}, {"array": "float32"}, None),
        "filter_axes": ([], [0], [-9], [-1, -1], [-1, -2], None, ["-1"]),
        "precision": (-1, "1", None),
        "layer": (None, 7, ["a"]),
    }.items():
        for value in values:
            yield f"{key} {value}", entry(**{key: value})
    for key in ("layer", "class", "name", "shape", "dtype", "array", "start", "levels"):
        entries = header_of(file)["weights"]
        del entries[0][key]
        yield f"no {key}", header(weights=entries)


def damaged(content):
    """Truncated files, and files with bytes that are others."""
    rng = np.random.default_rng(0)
    for length in rng.integers(0, len(content), 300):
        yield f"cut to {length}", content[:length]
    for number in range(600):
        changed = bytearray(content)
        places = rng.integers(0, len(content), 1 + number % 3)
        for place in set(places.tolist()):
            changed[place] ^= int(rng.integers(1, 256))
        yield f"changed at {places}", bytes(changed)
    for number in range(150):
        start, stop = sorted(rng.integers(0, len(content), 2).tolist())
        yield f"without {start} to {stop + 1}", content[:start] + content[stop + 1 :]
        yield f"and {number} more", content + bytes(1 + number)


def test_a_thousand_damaged_files(file, tmp_path):
    content, path = file.read_bytes(), tmp_path / "model.npz"
    model = small()
    kept = model.get_weights()
    wrong = []
    cases = [*hostile(file), *damaged(content)]
    assert len(cases) >= 1000
    tracemalloc.start()
    for case, data in cases:
        path.write_bytes(data)
        try:
            load_binary(model, path)
        except BinaryFileError as error:
            text = str(error).removeprefix(str(path))
            if text == str(error) or "\n" in text or len(text) > 300:
                wrong.append((case, text))
        else:
            wrong.append((case, "was loaded"))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert wrong == []
    assert peak < 100e6
    for weight, values in zip(model.get_weights(), kept, strict=True):
        np.testing.assert_array_equal(weight, values)
    assert packed(contents(file)) == content


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (lambda file: file.read_bytes()[:-1], "was cut or changed since it was written"),
        (lambda file: b"no archive", "is no file of binary weights; siman_larq.save_binary"),
        (lambda file: archive([("a.npy", npy(np.zeros(3)))], b""), "is no file of binary weights;"),
        (
            lambda file: next(
                archive(
                    [
                        (name, npy(np.frombuffer(newer, np.uint8)))
                        for name in ("header.npy", "bits.npy")
                    ]
                    + [("float32.npy", npy(np.zeros(0, "f4")))]
                )
                for newer in [json.dumps(header_of(file) | {"version": 2}).encode()]
            ),
            "of version 2, and this siman-larq reads version 1: install a newer siman-larq.",
        ),
        (
            lambda file: dict(hostile(file))["levels [0.0]"],
            "the entry of layer 'a' is damaged: its levels are no two numbers",
        ),
    ],
)
def test_sentences(content, sentence, file, tmp_path):
    (tmp_path / "model.npz").write_bytes(content(file))
    assert sentence in refused(small(), tmp_path / "model.npz")


# --- the command -------------------------------------------------------------------------------


def bits(*arguments):
    return CliRunner().invoke(siman_larq_cli.main, ["bits", *map(str, arguments)])


def test_the_command(file, tmp_path):
    printed = bits(file).stdout
    weights = [weight for weight in read(file) if weight.is_binary]
    for weight in weights:
        ones = int(weight.code.sum())
        digest = hashlib.sha256(np.packbits(weight.code).tobytes()).hexdigest()
        first = "".join(map(str, weight.code[..., 0].ravel().astype(int)))
        assert (
            f"{weight.layer}: kernel 3 x 3 x 5 x 5, levels -1 and 1, {ones} of 225 ones, 29 bytes\n"
            f"  SHA-256       {digest}\n"
            f"  first filter  {first}\n"
        ) in printed
    assert "2 binary kernels: 450 weights in 58 bytes; all other weights: 120 bytes\n" in printed
    one = bits(file, "--layer", "b").stdout
    assert one in printed
    assert "a: " not in one
    model = small()
    load_binary(model, file)
    model.save(tmp_path / "model.keras")
    assert bits(tmp_path / "model.keras").stdout == printed


def test_reading_does_not_wait_for_tensorflow(file):
    program = f"""
import sys
import siman_larq_cli
siman_larq_cli.main(["bits", {str(file)!r}], standalone_mode=False)
print("tensorflow" in sys.modules)
"""
    process = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert process.stdout.endswith("all other weights: 120 bytes\nFalse\n")


def test_what_the_command_refuses(file, tmp_path):
    for name, content, sentence in (
        ("model.tflite", b"", "is a TFLite file, whose bits Larq Compute Engine packs"),
        ("cut.npz", file.read_bytes()[:99], "was cut or changed"),
        ("cut.keras", file.read_bytes()[:99], "cannot be loaded as a Keras model"),
    ):
        (tmp_path / name).write_bytes(content)
        result = bits(tmp_path / name)
        assert (result.exit_code, result.stdout) == (1, "")
        assert sentence in result.stderr.splitlines()[-1]
    assert "has no binary layer 'c'; it has a, b." in bits(file, "--layer", "c").stderr
    assert "There is no " in bits(tmp_path / "nothing.npz").stderr
