"""Larq Zoo in SiMaN form: own quantizers for every kernel, the weights kept, 1-bit files."""

import functools
import importlib
import re
import subprocess
import sys
import warnings
from pathlib import Path

import larq as lq
import larq_zoo
import numpy as np
import pytest
import tensorflow as tf
from click.testing import CliRunner
from larq_zoo.core.model_factory import ModelFactory
from larq_zoo.literature.birealnet import BiRealNetFactory
from larq_zoo.literature.densenet import BinaryDenseNet28Factory
from larq_zoo.literature.dorefanet import DoReFaNetFactory
from larq_zoo.literature.meliusnet import MeliusNet22Factory
from larq_zoo.literature.real_to_bin_nets import StrongBaselineNetBNNFactory
from larq_zoo.literature.xnornet import XNORNetFactory
from larq_zoo.sota.quicknet import QuickNetSmallFactory
from zookeeper import ComponentField, Field, cli, configure, factory, task

from siman_larq import (
    PercentileClip,
    SampleSign,
    SiMaNConv2D,
    SiMaNQuantizer,
    check_no_l2,
    convert,
    verify,
    zoo,
)
from siman_larq._private import forget_gradients
from siman_larq.conversion.binary import binary_layers

LEVELS = [(-1, 1), (0, 1)]
BINARY_LAYERS = {
    "BinaryAlexNet": 7,
    "BiRealNet": 16,
    "BinaryResNetE18": 16,
    "BinaryDenseNet28": 23,
    "BinaryDenseNet37": 32,
    "BinaryDenseNet37Dilated": 32,
    "BinaryDenseNet45": 40,
    "MeliusNet22": 34,
    "XNORNet": 6,
    "DoReFaNet": 6,
    "RealToBinaryNet": 16,
    "StrongBaselineNet": 16,
    "QuickNetSmall": 16,
    "QuickNet": 16,
    "QuickNetLarge": 32,
}
FAST = {"BiRealNet", "MeliusNet22", "DoReFaNet", "RealToBinaryNet", "QuickNetSmall"}
WARNS = {"BinaryAlexNet", "XNORNet", "DoReFaNet"}


@pytest.fixture(autouse=True)
def _names_from_the_start():
    tf.keras.backend.clear_session()
    forget_gradients()  # and with them gigabytes of earlier models


def build(name, side=64, **kwargs):
    side = 220 if name == "XNORNet" else side
    with warnings.catch_warnings():
        warnings.simplefilter("ignore" if name in WARNS else "error", UserWarning)
        return zoo.MODELS[name]((side, side, 3), 10, **kwargs)


def small(levels=(-1, 1), **kwargs):
    return zoo.BiRealNet((64, 64, 3), 10, levels, filters=8, **kwargs)


def stock_layer(filters=4, size=3, **kwargs):
    defaults = {
        "input_quantizer": "ste_sign",
        "kernel_quantizer": "ste_sign",
        "kernel_constraint": "weight_clip",
        "padding": "same",
    }
    return lq.layers.QuantConv2D(filters, size, **{**defaults, **kwargs})


def sequential(*layers):
    return tf.keras.Sequential([tf.keras.Input((8, 8, 4)), *layers])


def warned(make):
    """What it gives, and what it warns of."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        made = make()
    ours = [w.message for w in caught if issubclass(w.category, zoo.BinarizeWarning)]
    return made, [str(message) for message in ours]


def calibrated(model, images):
    """Batch normalization somewhat as after training.

    With the initial one many sums are exactly 0, and at borders LCE's kernels round such a sum to
    either side of it.
    """
    for layer in model.layers:
        if isinstance(layer, tf.keras.layers.BatchNormalization):
            layer.momentum = 0.0  # the statistics are those of the images
            if layer.center:
                layer.beta.assign(tf.random.normal(layer.beta.shape, stddev=0.1))
    model(images, training=True)
    return model


def assert_equal_outputs(model, tflite, images):
    """On some images: a sum next to 0 may be rounded to the other side, and that spreads.

    A file that computes something else than the model does so on every image.
    """
    report = verify(model, tflite, images)
    differences = np.abs(report.keras_outputs - report.tflite_outputs).max(axis=1)
    assert differences.min() < 1e-5, differences
    return report


def quantizers(model):
    return [layer.kernel_quantizer for layer in binary_layers(model)]


# The models -----------------------------------------------------------------------------------


def test_every_model_is_there():
    assert list(zoo.MODELS) == list(BINARY_LAYERS)
    for name, model in zoo.MODELS.items():
        assert getattr(zoo, name) is model
        assert model.__name__ == name
        assert f"SiMaN{name}Factory" in zoo.__all__


def assert_siman_form(model, name, levels):
    found = quantizers(model)
    assert len(found) == BINARY_LAYERS[name]
    assert len({id(quantizer) for quantizer in found}) == len(found)
    constraints = [layer.kernel_constraint for layer in binary_layers(model)]
    assert len({id(constraint) for constraint in constraints}) == len(found)
    assert {type(constraint) for constraint in constraints} == {PercentileClip}
    assert {type(quantizer) for quantizer in found} == {SiMaNQuantizer}
    assert {quantizer.levels for quantizer in found} == {levels}
    assert model.output_shape == (None, 10)
    check_no_l2(model)


@pytest.mark.parametrize("name", sorted(FAST))
def test_model(name):
    """The others are built once, to be converted."""
    levels = (0, 1) if name == "MeliusNet22" else (-1, 1)
    assert_siman_form(build(name, levels=levels), name, levels)


def test_rows_of_another_version_are_made_again(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(Path(__file__).parents[1] / "tools")
    table = importlib.import_module("zoo_table")
    failed = subprocess.CompletedProcess([], 1, "", "no")
    monkeypatch.setattr(table.subprocess, "run", lambda *_, **__: failed)
    log = tmp_path / "log.jsonl"
    monkeypatch.setattr(
        sys, "argv", ["zoo_table.py", "--short", "--models", "XNORNet", f"--log={log}"]
    )
    table.main()
    table.main()
    assert len(log.read_text().splitlines()) == 2
    monkeypatch.setattr(table, "package", lambda: "another")
    table.main()
    assert len(log.read_text().splitlines()) == 4


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "levels"),
    # All models at both levels are tools/zoo_table.py's.
    [(name, (-1, 1)) for name in BINARY_LAYERS] + [("QuickNetSmall", (0, 1)), ("XNORNet", (0, 1))],
)
def test_conversion(name, levels):
    model = build(name, side=96, levels=levels)
    assert_siman_form(model, name, levels)
    images = np.random.default_rng(1).normal(size=(8, *model.input_shape[1:])).astype(np.float32)
    left = [layer.name for layer in binary_layers(model) if isinstance(layer, lq.layers.QuantDense)]
    assert len(left) == (2 if name == "DoReFaNet" else 0)
    tflite = convert(calibrated(model, images), allow_float=left)
    report = assert_equal_outputs(model, tflite, images)
    assert report.left_float == left
    assert len(report.packed) == BINARY_LAYERS[name] - len(left)


@pytest.mark.slow
def test_conversion_of_a_small_model():
    model = small((0, 1))
    images = np.random.default_rng(1).normal(size=(4, 64, 64, 3)).astype(np.float32)
    tflite = convert(calibrated(model, images), small_maps="rewrite")
    assert len(assert_equal_outputs(model, tflite, images).packed) == 16


@pytest.mark.slow
def test_trains():
    model = small()
    model.compile("sgd", "sparse_categorical_crossentropy")
    before = model.get_layer("quant_conv2d").get_weights()[0]
    model.fit(np.random.normal(size=(4, 64, 64, 3)), np.arange(4), verbose=0)
    assert np.abs(model.get_layer("quant_conv2d").get_weights()[0] - before).max() > 0


def test_weights_are_those_of_the_stock_model(tmp_path):
    path = str(tmp_path / "weights.h5")
    stock = BiRealNetFactory(input_shape=(64, 64, 3), num_classes=10, filters=8).build()
    stock.save_weights(path)
    model = small(weights=path)
    assert model.name == stock.name
    for ours, theirs in zip(model.get_weights(), stock.get_weights(), strict=True):
        np.testing.assert_array_equal(ours, theirs)


@factory
class ShallowMeliusNetFactory(MeliusNet22Factory):
    num_blocks = (1, 1, 1, 1)


@factory
class ShallowDenseNetFactory(BinaryDenseNet28Factory):
    layers, reduction, dilation_rate = (1, 1), (2,), (1, 1)


@factory
class ShallowDoReFaNetFactory(DoReFaNetFactory):
    def build(self) -> tf.keras.Model:
        quantized = lq.layers.QuantConv2D(
            4, 3, input_quantizer="ste_sign", kernel_quantizer="ste_sign"
        )
        clipped = tf.keras.layers.Activation("clip_by_value_activation")(
            quantized(self.image_input)
        )
        return tf.keras.Model(self.image_input, clipped)


@pytest.mark.parametrize(
    "stock",
    [
        ShallowMeliusNetFactory,
        ShallowDenseNetFactory,
        ShallowDoReFaNetFactory,
        StrongBaselineNetBNNFactory,
        functools.partial(QuickNetSmallFactory, section_blocks=(1, 1, 1, 1)),
    ],
)
def test_files_hold_what_larq_zoo_made_of_functions(stock, tmp_path):
    """Stock models with these layers cannot be loaded, or from a file of one kind only."""
    stock = stock(input_shape=(32, 32, 3), num_classes=4).build()
    rng = np.random.default_rng(0)
    for weight in stock.weights:
        if "scale" in weight.name:
            weight.assign(rng.uniform(0.5, 2, weight.shape))
    images = rng.normal(size=(2, 32, 32, 3)).astype(np.float32)
    ours = zoo.binarize(stock, kernel_quantizer="ste_sign", input_quantizer="keep")
    assert [layer.name for layer in ours.layers] == [layer.name for layer in stock.layers]
    expected = stock(images)
    np.testing.assert_array_equal(ours(images), expected)
    assert "'larq_zoo" not in str(ours.get_config())  # which nothing would import
    for name in ("model.keras", "model.h5"):
        ours.save(tmp_path / name)
        loaded = tf.keras.models.load_model(tmp_path / name)
        np.testing.assert_array_equal(loaded(images), expected, err_msg=name)
        again = zoo.binarize(loaded, kernel_quantizer="ste_sign", input_quantizer="keep")
        np.testing.assert_array_equal(again(images), expected)


def test_stock_fields():
    assert small(include_top=False).output_shape == (None, 2, 2, 64)
    with pytest.raises(TypeError, match="'depth'"):
        small(depth=3)


def test_input_tensor():
    image = tf.keras.Input((8, 8, 3))
    assert configured({"input_tensor": image}).build().input is image
    features = tf.keras.layers.Rescaling(0.5)(image)
    assert configured({"input_tensor": features}).build()(features).shape == (None, 10)


def test_real_to_binary_net_finds_its_weights(monkeypatch):
    """The stock factory asks for the names of its quantizers before it downloads them."""
    asked = []

    def download(**kwargs):
        asked.append(kwargs["file"])
        raise InterruptedError

    monkeypatch.setattr("larq_zoo.core.utils.download_pretrained_model", download)
    for name in ("BiRealNet", "RealToBinaryNet"):
        with pytest.raises(InterruptedError):
            zoo.MODELS[name](weights="imagenet", kernel_quantizer="ste_sign")
    assert asked == ["birealnet_weights.h5", "r2b_weights.h5"]


@pytest.mark.parametrize(
    "quantizer", [None, "siman", SiMaNQuantizer((-1, 1)), SiMaNQuantizer((-1, 1), name="mine")]
)
def test_flip_ratio(quantizer):
    with lq.context.metrics_scope(["flip_ratio"]):
        stock = sequential(stock_layer(4), stock_layer(8))
        model = zoo.binarize(stock, kernel_quantizer=quantizer)
        assert lq.context.get_training_metrics() == {"flip_ratio"}
    model.compile("sgd", "sparse_categorical_crossentropy")
    ratios = [metric.name for metric in model.metrics if metric.name.startswith("flip_ratio/")]
    assert len(set(ratios)) == 2


def test_metrics_of_the_quantizer_itself():
    quantizer = SiMaNQuantizer((-1, 1), metrics=["flip_ratio"])
    model = zoo.binarize(sequential(stock_layer(4), stock_layer(8)), kernel_quantizer=quantizer)
    assert len(model.metrics) == 2


def test_flip_ratio_where_stock_layers_share_a_quantizer():
    with lq.context.metrics_scope(["flip_ratio"]):
        model = zoo.QuickNetSmall((64, 64, 3), 10)
        assert lq.context.get_training_metrics() == {"flip_ratio"}
    assert len({metric.name for metric in model.metrics}) == 16


# Fields ---------------------------------------------------------------------------------------


class StockFactory(ModelFactory):
    """As the factories of the zoo are: quantizers are no fields, and one is a property."""

    filters: int = Field(64)
    kernel_quantizer = "ste_sign"
    kernel_constraint = "weight_clip"

    @property
    def input_quantizer(self):
        return lq.quantizers.SteSign()

    def build(self) -> tf.keras.Model:
        x = self.image_input
        for strides in (1, 2):
            x = stock_layer(
                self.filters,
                strides=strides,
                input_quantizer=self.input_quantizer,
                kernel_quantizer=self.kernel_quantizer,
                kernel_constraint=self.kernel_constraint,
            )(x)
        x = tf.keras.layers.Dense(self.num_classes)(tf.keras.layers.Flatten()(x))
        return tf.keras.Model(self.image_input, x)


@factory
class SmallFactory(zoo.SiMaNFactory, StockFactory):
    pass


def configured(fields):
    component = SmallFactory()
    configure(component, {"num_classes": 10, "input_shape": (8, 8, 3), "filters": 8, **fields})
    return component


@pytest.mark.parametrize(
    ("fields", "levels", "threshold"),
    [
        ({}, (-1, 1), "median"),
        ({"levels": (0, 1), "threshold": 0.3}, (0, 1), 0.3),
        ({"levels": [0.0, 1.0]}, (0, 1), "median"),
        ({"kernel_quantizer": "siman", "threshold": "angle"}, (-1, 1), "angle"),
        ({"kernel_quantizer": SiMaNQuantizer((0, 1), 0.4)}, (0, 1), 0.4),
        (
            {"kernel_quantizer": {"class_name": "siman", "config": {"levels": (0, 1)}}},
            (0, 1),
            "median",
        ),
        ({"kernel_quantizer": lq.quantizers.serialize(SiMaNQuantizer())}, (0, 1), "median"),
    ],
)
def test_fields(fields, levels, threshold):
    found = quantizers(configured(fields).build())
    assert len({id(quantizer) for quantizer in found}) == 2
    assert {quantizer.levels for quantizer in found} == {levels}
    assert {quantizer.threshold for quantizer in found} == {threshold}


def test_constraint_fields(caplog):
    layers = binary_layers(configured({"kernel_constraint": PercentileClip(5.0)}).build())
    assert {layer.kernel_constraint.percent for layer in layers} == {5.0}
    assert len({id(layer.kernel_constraint) for layer in layers}) == 2
    layers = binary_layers(configured({"kernel_constraint": None}).build())
    assert {layer.kernel_constraint for layer in layers} == {None}
    # SiMaN's gradient is not clipped: no weights starve.
    assert "starved" not in caplog.text


def test_field_values_outlive_the_build():
    component = configured({"kernel_quantizer": "ste_sign"})
    model = component.build()
    assert component.build() is model
    assert component.kernel_quantizer == "ste_sign"
    assert component.kernel_constraint == "percentile_clip"
    assert {type(quantizer) for quantizer in quantizers(model)} == {lq.quantizers.SteSign}


def test_fields_of_a_zoo_factory():
    @factory
    class Own(zoo.SiMaNBiRealNetFactory):
        filters = Field(4)
        levels = Field((0, 1))

    component = Own()
    configure(component, {"num_classes": 3, "input_shape": (32, 32, 3), "threshold": "angle"})
    model = component.build()
    assert model.layers[1].filters == 4
    assert {quantizer.levels for quantizer in quantizers(model)} == {(0, 1)}
    assert {quantizer.threshold for quantizer in quantizers(model)} == {"angle"}


def test_command_line():
    models = []

    @task
    class BuildZooModel:
        num_classes: int = Field(10)
        model: tf.keras.Model = ComponentField()

        def run(self):
            models.append(self.model)

    def run(*arguments):
        arguments = ["build_zoo_model", "model.input_shape=(8,8,3)", *arguments]
        result = CliRunner().invoke(cli, arguments, catch_exceptions=False)
        assert result.exit_code == 0, result.output
        return models[-1]

    model = run("model=SmallFactory", "model.filters=8", "model.levels=(0,1)")
    assert {quantizer.levels for quantizer in quantizers(model)} == {(0, 1)}
    model = run(
        "model=SmallFactory",
        "model.filters=8",
        "model.threshold=0.25",
        "model.kernel_constraint=None",
        "model.input_quantizer=sample_sign",
    )
    layers = binary_layers(model)
    assert {layer.kernel_quantizer.threshold for layer in layers} == {0.25}
    assert {layer.kernel_constraint for layer in layers} == {None}
    assert {type(layer.input_quantizer) for layer in layers} == {SampleSign}


# binarize -------------------------------------------------------------------------------------


def test_models_within_models():
    image = tf.keras.Input((8, 8, 4))
    shared = sequential(stock_layer(name="inner"), tf.keras.layers.BatchNormalization())
    inner = tf.keras.Model(image, tf.keras.layers.Add()([shared(image), image]), name="block")
    outer = tf.keras.Sequential([tf.keras.Input((8, 8, 4)), inner, stock_layer(name="last")])
    before = outer.get_weights()
    model = zoo.binarize(outer)
    assert isinstance(model, tf.keras.Sequential)
    assert [layer.name for layer in binary_layers(model)] == ["inner", "last"]
    assert {type(quantizer) for quantizer in quantizers(model)} == {SiMaNQuantizer}
    for ours, theirs in zip(model.get_weights(), before, strict=True):
        np.testing.assert_array_equal(ours, theirs)
    assert {type(quantizer) for quantizer in quantizers(outer)} == {lq.quantizers.SteSign}


def test_every_kernel():
    model = sequential(
        lq.layers.QuantSeparableConv2D(
            4,
            3,
            input_quantizer="ste_sign",
            depthwise_quantizer="ste_sign",
            pointwise_quantizer="ste_sign",
            depthwise_constraint="weight_clip",
            pointwise_constraint="weight_clip",
            depthwise_regularizer="l2",
            name="separable",
        ),
        lq.layers.QuantConv2D(
            4,
            1,
            input_quantizer="ste_sign",
            kernel_quantizer=lq.quantizers.DoReFa(2, mode="weights"),
        ),
        SiMaNConv2D(4, 3, kernel_quantizer="siman", name="siman"),
    )
    model, messages = warned(lambda: zoo.binarize(model, threshold="angle"))
    assert "kernel regularizers of separable are left out" in messages[0]
    assert "QuantSeparableConv2D" in messages[1]
    assert len(messages) == 2
    separable = model.get_layer("separable")
    assert separable.depthwise_quantizer.threshold == "angle"
    assert separable.pointwise_quantizer.threshold == "angle"
    assert separable.depthwise_quantizer is not separable.pointwise_quantizer
    assert isinstance(separable.pointwise_constraint, PercentileClip)
    assert isinstance(model.layers[1].kernel_quantizer, lq.quantizers.DoReFa)
    assert model.get_layer("siman").kernel_quantizer.levels == (-1, 1)


def test_regularizers():
    model = XNORNetFactory(input_shape=(220, 220, 3), num_classes=2, include_top=False).build()
    name = binary_layers(model)[0].name
    model, messages = warned(lambda: zoo.binarize(model))
    assert len(messages) == 1
    assert f"the kernel regularizers of {name}, " in messages[0]
    check_no_l2(model)
    assert len(model.losses) == 1  # that of the first layer


@lq.utils.register_keras_custom_object
@lq.utils.set_precision(1)
def own_sign(x):
    return lq.quantizers.ste_sign(x)


def test_real_inputs():
    """Real weights there; not where a quantizer of its own comes before."""
    relu = tf.keras.layers.ReLU()
    model = sequential(
        stock_layer(input_quantizer=None, kernel_regularizer="l2", name="first"),
        lq.quantizers.SteSign(),
        stock_layer(input_quantizer=None, name="second"),
        tf.keras.layers.Activation(own_sign),
        stock_layer(input_quantizer=None, name="third"),
        relu,
        stock_layer(input_quantizer=None, name="fourth"),
    )
    made, messages = warned(lambda: zoo.binarize(model))
    assert len(messages) == 1
    assert "first, fourth had binary kernels but no input quantizer" in messages[0]
    assert [layer.name for layer in binary_layers(made)] == ["second", "third"]
    first = made.get_layer("first")
    assert first.kernel_constraint is None
    assert first.kernel_regularizer is not None
    np.testing.assert_array_equal(first.get_weights()[0], model.get_layer("first").get_weights()[0])
    images = np.random.default_rng(0).normal(size=(3, 8, 8, 4)).astype(np.float32)
    assert len(verify(made, convert(made), images).packed) == 2


def test_activations_of_more_bits():
    model, messages = warned(lambda: zoo.DoReFaNet((64, 64, 3), 10))
    assert {type(layer.input_quantizer) for layer in binary_layers(model)} == {SampleSign}
    names = [layer.name for layer in binary_layers(model)]
    assert f"{names[-1]} (2-bit) became 'sample_sign'" in messages[0]
    assert "input_quantizer='keep'" in messages[0]
    assert f"{names[-1]}: LCE has no 1-bit op for QuantDense" in messages[1]
    assert f"allow_float={names[-2:]}" in messages[1]

    model, messages = warned(lambda: zoo.DoReFaNet((64, 64, 3), 10, input_quantizer="keep"))
    assert {layer.input_quantizer.precision for layer in binary_layers(model)} == {2}
    assert len(messages) == 1
    assert f"{binary_layers(model)[0].name}: its input quantizer has precision 2" in messages[0]


def test_input_quantizers():
    model = sequential(stock_layer(), stock_layer())
    kept = zoo.binarize(model)
    assert {type(layer.input_quantizer) for layer in kept.layers} == {lq.quantizers.SteSign}
    model = sequential(stock_layer(), stock_layer(input_quantizer=lq.quantizers.DoReFa(2)))
    ours, messages = warned(lambda: zoo.binarize(model, input_quantizer=SampleSign(zero=1)))
    assert messages == []
    assert {layer.input_quantizer.zero for layer in ours.layers} == {1}
    assert len({id(layer.input_quantizer) for layer in ours.layers}) == 2


def test_input_tensors():
    image = tf.keras.Input((8, 8, 4))
    stock = sequential(stock_layer())
    assert zoo.binarize(stock, input_tensors=image).input is image
    assert (
        zoo.binarize(tf.keras.Model(stock.input, stock.output), input_tensors=[image]).input
        is image
    )
    with pytest.raises(ValueError, match=r"input_tensors=.*\[None, 9, 9, 4\].* takes"):
        zoo.binarize(stock, input_tensors=tf.keras.Input((9, 9, 4)))
    for wrong in (tf.zeros((1, 8, 8, 4)), tf.keras.layers.ReLU()(image), "image"):
        with pytest.raises(TypeError, match="input_tensors=.* tf.keras.Input"):
            zoo.binarize(stock, input_tensors=wrong)


class Subclassed(tf.keras.Model):
    def __init__(self):
        super().__init__(name="subclassed")
        self.layer = stock_layer()

    def call(self, inputs):
        return self.layer(inputs)


def subclassed():
    model = Subclassed()
    model(tf.zeros((1, 8, 8, 4)))
    return model


@pytest.mark.parametrize(
    ("model", "text"),
    [
        (subclassed, "'subclassed' cannot be copied layer by layer .*functional or Sequential"),
        (lambda: tf.keras.Sequential([subclassed()]), "'subclassed' cannot be copied|not built"),
        (lambda: tf.keras.Sequential([stock_layer()]), "is not built; give it an input shape"),
        (lambda: sequential(tf.keras.layers.Conv2D(4, 3)), "has no binary kernel"),
        (
            lambda: sequential(
                tf.keras.layers.Reshape((1, 8, 8, 4)),
                tf.keras.layers.TimeDistributed(stock_layer(name="hidden"), name="wrapper"),
            ),
            r"'wrapper', a TimeDistributed, holds binary layers \['hidden'\]",
        ),
    ],
)
def test_models_it_cannot_take(model, text):
    with pytest.raises(zoo.BinarizeError, match=text):
        zoo.binarize(model())


@pytest.mark.parametrize("model", [None, "BiRealNet", stock_layer, larq_zoo.literature.BiRealNet])
def test_no_model(model):
    with pytest.raises(TypeError, match=r"binarize: model=.* is no tf\.keras\.Model"):
        zoo.binarize(model)


@pytest.mark.parametrize(
    ("arguments", "error", "text"),
    [
        ({"levels": (0, 2)}, ValueError, "levels=(0, 2) is not supported; use (0, 1)"),
        ({"threshold": 1.5}, ValueError, "threshold=1.5 is not supported; use 'median'"),
        ({"kernel_quantizer": "sieman"}, ValueError, "kernel_quantizer='sieman' is unknown"),
        ({"kernel_quantizer": 3}, ValueError, "kernel_quantizer=3 is unknown"),
        ({"kernel_quantizer": SiMaNQuantizer}, TypeError, "is a class; give an instance"),
        ({"kernel_quantizer": "ste_tern"}, ValueError, "'ste_tern' has precision 2"),
        (
            {"kernel_quantizer": "ste_sign", "levels": (0, 1)},
            ValueError,
            "kernel_quantizer='ste_sign' and levels=(0.0, 1.0) exclude each other; leave levels",
        ),
        (
            {"kernel_quantizer": SiMaNQuantizer(threshold=0.5), "threshold": "angle"},
            ValueError,
            "threshold='angle' exclude each other",
        ),
        ({"kernel_constraint": "clip"}, ValueError, "kernel_constraint='clip' is unknown"),
        ({"kernel_constraint": PercentileClip}, TypeError, "is a class; give an instance"),
        ({"input_quantizer": "sign"}, ValueError, "input_quantizer='sign' is unknown"),
        (
            {"input_quantizer": lq.quantizers.DoReFa(2)},
            ValueError,
            "has precision 2, and binary layers need precision 1; give a 1-bit quantizer such as "
            "'sample_sign', or 'keep'",
        ),
    ],
)
def test_arguments(arguments, error, text):
    model = sequential(stock_layer())
    with pytest.raises(error, match=re.escape(text)):
        zoo.binarize(model, **arguments)
    # Before the stock model is built; zookeeper checks types before that.
    if arguments.get("kernel_quantizer") != 3:
        with pytest.raises(error, match=re.escape(text)):
            zoo.BiRealNet(weights="nowhere", **arguments)


def test_axes_that_were_given_are_kept():
    class Swapped(tf.keras.layers.Layer):
        """With a kernel of (filters, inputs)."""

        def __init__(self, kernel_quantizer, input_quantizer, kernel_constraint=None, **kwargs):
            super().__init__(**kwargs)
            self.kernel_quantizer = lq.quantizers.get(kernel_quantizer)
            self.input_quantizer = lq.quantizers.get(input_quantizer)
            self.kernel_constraint = kernel_constraint

        def build(self, shape):
            self.kernel = self.add_weight("kernel", (4, shape[-1]))
            super().build(shape)

        def call(self, inputs):
            return self.input_quantizer(inputs) @ tf.transpose(self.kernel_quantizer(self.kernel))

        def get_config(self):
            own = {"kernel_quantizer": "ste_sign", "input_quantizer": "ste_sign"}
            return {**super().get_config(), **own}

    def model(layer):
        return tf.keras.Sequential([tf.keras.Input((8,)), layer])

    own = Swapped("ste_sign", "ste_sign")
    given = SiMaNQuantizer((-1, 1), filter_axes=(-2,))
    clip = PercentileClip(filter_axes=(-2,))
    with pytest.warns(zoo.BinarizeWarning, match="stay float"):
        made = zoo.binarize(model(own), kernel_quantizer=given, kernel_constraint=clip)
    layer = made.layers[-1]
    assert layer.kernel_quantizer.filter_axes == layer.kernel_constraint.filter_axes == (-2,)
    # A layer whose filters lie otherwise says so; one that told the quantizer is forgotten.
    dense = lq.layers.QuantDense(4, input_quantizer="ste_sign", kernel_quantizer="ste_sign")
    with pytest.raises(ValueError, match="its kernel_quantizer takes axes"):
        zoo.binarize(model(dense), kernel_quantizer=given)
    told = SiMaNQuantizer((-1, 1))
    depthwise = lq.layers.QuantDepthwiseConv2D(1, depthwise_quantizer=told)
    depthwise(tf.zeros([1, 2, 2, 3]))
    assert told.filter_axes == (-2, -1)
    with pytest.warns(zoo.BinarizeWarning, match="stay float"):
        layer = zoo.binarize(model(dense), kernel_quantizer=told).layers[-1]
    assert layer.kernel_quantizer.filter_axes == (-1,)


def test_quantizers_with_weights_of_their_own():
    class Learned(lq.quantizers.SteSign):
        def build(self, shape):
            super().build(shape)
            self.step = self.add_weight("step", ())

    layer = lq.layers.QuantConv2D(4, 3, input_quantizer=Learned(), kernel_quantizer="ste_sign")
    model = sequential(layer)
    with pytest.raises(
        zoo.BinarizeError, match="since a quantizer with weights of its own is repl"
    ):
        zoo.binarize(model, input_quantizer="sample_sign")
