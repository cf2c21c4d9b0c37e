"""Keras models and their TFLite files compute the same, and every binary layer is 1-bit."""

import gc
import warnings
from collections import Counter

import larq as lq
import larq_compute_engine as lce
import numpy as np
import pytest
import tensorflow as tf

from siman_larq import SampleSign, SiMaNConv2D, SiMaNQuantizer, models
from siman_larq.conversion import (
    ConversionError,
    SmallMapWarning,
    convert,
    operators,
    verify,
)

LEVELS = [(-1, 1), (0, 1)]


@pytest.fixture(autouse=True)
def _float32_policy():
    yield
    tf.keras.mixed_precision.set_global_policy("float32")
    tf.keras.backend.clear_session()


def rng(seed=0):
    return np.random.default_rng(seed)


def images(model, count=4, seed=1):
    return rng(seed).normal(size=(count, *model.input_shape[1:])).astype(np.float32)


def randomised(model, seed=2):
    """Normal weights, negative scales among them; statistics far from a fresh network's."""
    draw = rng(seed)
    for weight in model.weights:
        values = draw.normal(size=weight.shape)
        if "variance" in weight.name:
            values = draw.uniform(0.5, 2.0, size=weight.shape)
        weight.assign(values)
    return model


def sequential(*layers, shape=(6, 7, 5)):
    return randomised(tf.keras.Sequential([tf.keras.Input(shape), *layers]))


def conv(filters=8, size=3, levels=(-1, 1), **kwargs):
    return SiMaNConv2D(filters, size, kernel_quantizer=SiMaNQuantizer(levels=levels), **kwargs)


def quant_conv(filters=8, size=3, **kwargs):
    defaults = {"input_quantizer": "ste_sign", "kernel_quantizer": "ste_sign", "padding": "same"}
    return lq.layers.QuantConv2D(filters, size, **{**defaults, **kwargs})


def assert_equal_outputs(model, tflite, tolerance=2e-5, count=4):
    report = verify(model, tflite, images(model, count))
    scale = max(1.0, float(np.abs(report.keras_outputs).max()))
    assert np.abs(report.keras_outputs).max() > 0.1
    assert report.max_abs_difference < tolerance * scale
    return report


def run(tflite, inputs, **kernel):
    return lce.testing.Interpreter(tflite, **kernel).predict(inputs)


# Equal outputs --------------------------------------------------------------------------------

CONVOLUTIONS = {
    "same": {},
    "valid": {"padding": "valid"},
    "strides": {"strides": 2},
    "strides_valid": {"strides": (2, 1), "padding": "valid"},
    "one_padding": {"pad_values": 1.0},
    "one_padding_strides": {"pad_values": 1.0, "strides": 2},
    "dilation": {"dilation_rate": 2},
    "dilation_one_padding": {"dilation_rate": 2, "pad_values": 1.0},
    "bias": {"use_bias": True},
    "activation": {"use_bias": True, "activation": "relu"},
    "pointwise": {"size": 1},
    "one_filter": {"filters": 1},
    "even_kernel": {"size": (2, 4)},
}


RARE = {
    "strides_valid",
    "one_padding_strides",
    "dilation_one_padding",
    "activation",
    "pointwise",
    "one_filter",
    "even_kernel",
    "2x6",
    "2x2_bias",
    "4x4_dilation",
}


def cases(table):
    """Names of a table's cases, the rarer ones marked slow."""
    return [pytest.param(name, marks=pytest.mark.slow) if name in RARE else name for name in table]


@pytest.mark.parametrize("levels", LEVELS)
@pytest.mark.parametrize("case", cases(CONVOLUTIONS))
def test_convolution(case, levels):
    model = sequential(conv(levels=levels, name="conv", **CONVOLUTIONS[case]))
    tflite = convert(model)
    report = assert_equal_outputs(model, tflite)
    assert report.packed == ["conv"]
    assert report.left_float == []
    assert operators(tflite).count("LceBconv2d") == (2 if levels == (0, 1) else 1)
    assert "CONV_2D" not in operators(tflite)


@pytest.mark.parametrize("levels", LEVELS)
def test_batch_norm_and_prelu_after(levels):
    model = sequential(
        conv(40, levels=levels),
        tf.keras.layers.BatchNormalization(),
        tf.keras.layers.PReLU(shared_axes=[1, 2]),
        conv(16, levels=levels, strides=2),
        tf.keras.layers.BatchNormalization(),
    )
    assert len(assert_equal_outputs(model, convert(model)).packed) == 2


def test_a_layer_costs_a_mean_a_difference_a_quantisation_and_a_convolution():
    model = sequential(conv())
    assert operators(convert(model)) == ["MEAN", "SUB", "LceQuantize", "LceBconv2d"]


def test_signs_about_the_mean_of_many_values():
    """TFLite adds up in float32, one by one; the mean of 262,144 values must not suffer."""
    model = sequential(conv(1, 1), shape=(64, 64, 64))
    tflite = convert(model)
    assert operators(tflite) == ["MEAN", "MEAN", "SUB", "LceQuantize", "LceBconv2d"]
    positive = 4 + rng().gamma(2.0, size=(4, 64, 64, 64)).astype(np.float32)
    report = verify(model, tflite, positive)
    differ = ~np.isclose(report.keras_outputs, report.tflite_outputs, rtol=0, atol=1e-3)
    # With one long sum 14 outputs differ; rounding even the best mean may turn one a sample.
    assert differ.sum() <= 4


def test_scale_and_batch_norm_are_fused():
    model = sequential(conv(), tf.keras.layers.BatchNormalization())
    assert operators(convert(model)) == ["MEAN", "SUB", "LceQuantize", "LceBconv2d"]


@pytest.mark.parametrize("levels", LEVELS)
def test_zero_and_negative_scales(levels):
    model = sequential(conv(4, levels=levels, name="conv"))
    model.get_layer("conv").alpha.assign([0.0, -1.5, 0.0, 2.0])
    report = assert_equal_outputs(model, convert(model))
    assert report.packed == ["conv"]
    assert np.abs(report.tflite_outputs[..., [0, 2]]).max() == 0


@pytest.mark.parametrize("quantizer", ["ste_sign", "approx_sign", "magnitude_aware_sign"])
def test_quantizers_of_larq(quantizer):
    model = sequential(quant_conv(kernel_quantizer=quantizer, name="conv"))
    assert assert_equal_outputs(model, convert(model)).packed == ["conv"]


def test_heaviside_kernels_pack():
    model = sequential(quant_conv(kernel_quantizer="ste_heaviside", name="conv"))
    tflite = convert(model)
    assert assert_equal_outputs(model, tflite).packed == ["conv"]
    assert Counter(operators(tflite))["LceBconv2d"] == 2


WEIGHTS_OF_MORE_BITS = {
    "dorefa_4": lambda: lq.quantizers.DoReFa(4, "weights"),
    "dorefa_8": lambda: lq.quantizers.DoReFa(8, "weights"),
    "ternary": lambda: lq.quantizers.SteTern(),
    "own": lambda: lambda w: tf.round(w * 4) / 4,
}


@pytest.mark.parametrize("case", WEIGHTS_OF_MORE_BITS)
def test_weights_of_more_bits_are_quantized_once(case):
    model = sequential(
        quant_conv(kernel_quantizer=WEIGHTS_OF_MORE_BITS[case]()),
        tf.keras.layers.Flatten(),
        lq.layers.QuantDense(3, kernel_quantizer=WEIGHTS_OF_MORE_BITS[case]()),
    )
    with pytest.warns(UserWarning, match="no binary layer"):
        assert_equal_outputs(model, convert(model))


def test_sample_sign_as_a_layer():
    model = sequential(SampleSign(), tf.keras.layers.Cropping2D(((1, 0), (1, 0))), quant_conv())
    tflite = convert(model)
    assert operators(tflite).count("LceBconv2d") == 1
    # One bit has no third value: a constant sample's signs are all +1.
    constant = np.zeros((1, *model.input_shape[1:]), np.float32)
    expected = model.layers[-1](tf.ones((1, 5, 6, 5)))
    np.testing.assert_allclose(run(tflite, constant), expected, rtol=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("levels", LEVELS)
def test_kernels_above_a_mebibyte_pack(levels):
    model = sequential(conv(512, levels=levels, name="conv"), shape=(4, 4, 512))
    tflite = convert(model)
    report = assert_equal_outputs(model, tflite, count=1)
    assert report.packed == ["conv"]
    assert len(tflite) < 1.1 * report.theoretical_bytes


# Networks -------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("levels", LEVELS)
def test_resnet20(levels):
    def levelled(*args, **kwargs):
        return conv(*args, levels=levels, **kwargs)

    model = models.resnet20(conv=levelled)
    drawn = rng(3)  # one for all, since equal constants are kept once
    for layer in model.layers:
        if isinstance(layer, tf.keras.layers.BatchNormalization):
            shift = drawn.normal(size=(2, *layer.gamma.shape))
            factor = drawn.uniform(0.5, 1.5, size=(2, *layer.gamma.shape))
            layer.set_weights([factor[0], shift[0], shift[1], factor[1]])
        elif isinstance(layer, tf.keras.layers.PReLU):
            layer.set_weights([drawn.uniform(0.2, 0.3, size=layer.alpha.shape)])
    tflite = convert(model)
    report = verify(model, tflite, images(model, 6))
    assert len(report.packed) == 18
    assert report.left_float == []
    assert Counter(operators(tflite))["LceBconv2d"] == (36 if levels == (0, 1) else 18)
    assert report.agreement == 1
    # Float rounding may turn the sign of single activations, so not every output is equal.
    assert np.median(np.abs(report.keras_outputs - report.tflite_outputs)) < 0.05
    if levels == (-1, 1):
        # A graph of 128 operators takes 13 kB beside them.
        statistics = sum(w.shape.num_elements() for w in model.non_trainable_weights)
        trained = 267_264 // 8 + 4 * (271_194 - 267_264 + statistics)
        assert report.theoretical_bytes < report.size_bytes <= 1.25 * trained
    # The first stage has 16 channels, which LCE keeps in words of 32; of the normalisations' betas
    # and gammas only the shifts of those behind convolutions are left.
    packed = 267_264 // 8 + 6 * 9 * 16 * 16 // 8 + 9 * 32 * 16 // 8
    assert report.theoretical_bytes == packed + 4 * (271_194 - 267_264 - (16 + 672) - 2 * 64)


def two_levels(inner_levels):
    inputs = tf.keras.Input((6, 6, 8))
    inner = tf.keras.Sequential(
        [tf.keras.Input((6, 6, 8)), conv(8, levels=inner_levels, name="inside")], name="inner"
    )
    outputs = conv(4, name="outside")(inner(inputs))
    return randomised(tf.keras.Model(inputs, outputs))


@pytest.mark.parametrize("levels", LEVELS)
def test_nested_models(levels):
    model = two_levels(levels)
    report = assert_equal_outputs(model, convert(model))
    assert [name.split("/")[-1] for name in report.packed] == ["inside", "outside"]


def test_shared_layer():
    inputs = tf.keras.Input((6, 6, 8))
    shared = conv(8, name="shared")
    model = randomised(tf.keras.Model(inputs, shared(shared(inputs))))
    tflite = convert(model)
    assert assert_equal_outputs(model, tflite).packed == ["shared"]
    assert operators(tflite).count("LceBconv2d") == 2


@pytest.mark.slow
def test_layers_with_names_that_begin_alike_or_hold_dots():
    names = ["conv1", "conv10", "layer1.0.conv1", "layer1.0.conv10"]
    model = sequential(*(conv(name=name) for name in names))
    assert assert_equal_outputs(model, convert(model)).packed == names


def test_layers_with_equal_kernels():
    model = sequential(*(conv(8, name=f"conv{i}") for i in range(3)), shape=(6, 6, 8))
    for layer in model.layers[1:]:
        layer.set_weights(model.layers[0].get_weights())
    assert assert_equal_outputs(model, convert(model)).packed == ["conv0", "conv1", "conv2"]


@pytest.mark.parametrize("levels", LEVELS)
def test_mixed_precision(levels):
    assert_mixed_precision_converts(levels, is_global=False)


@pytest.mark.parametrize("levels", LEVELS)
def test_mixed_precision_as_the_global_policy(levels):
    assert_mixed_precision_converts(levels, is_global=True)


def assert_mixed_precision_converts(levels, is_global):
    plain = sequential(conv(levels=levels), tf.keras.layers.BatchNormalization())
    tf.keras.mixed_precision.set_global_policy("mixed_bfloat16")
    mixed = sequential(conv(levels=levels), tf.keras.layers.BatchNormalization())
    if not is_global:
        tf.keras.mixed_precision.set_global_policy("float32")
    tflite = convert(mixed)
    assert tf.keras.mixed_precision.global_policy().name == (
        "mixed_bfloat16" if is_global else "float32"
    )
    inputs = images(plain)
    np.testing.assert_allclose(
        run(tflite, inputs), plain.predict(inputs, verbose=0), rtol=1e-4, atol=1e-4
    )


@pytest.mark.parametrize("levels", LEVELS)
def test_the_model_is_left_as_it_is(levels):
    model = two_levels(levels)
    weights, outputs = model.get_weights(), model(images(model)).numpy()
    config, nodes = model.to_json(), [len(layer.inbound_nodes) for layer in model.layers]
    convert(model, small_maps="rewrite")
    for before, after in zip(weights, model.get_weights(), strict=True):
        np.testing.assert_array_equal(before, after)
    np.testing.assert_array_equal(outputs, model(images(model)))
    assert model.to_json() == config
    assert [len(layer.inbound_nodes) for layer in model.layers] == nodes


def test_weights_saved_as_codes_convert_to_the_same_file():
    model = sequential(conv())
    with lq.context.quantized_scope(True):
        codes = model.get_weights()
    coded = sequential(conv())
    coded.set_weights(codes)
    inputs = images(model)
    np.testing.assert_array_equal(run(convert(model), inputs), run(convert(coded), inputs))


# Small maps -----------------------------------------------------------------------------------


def small_model(side, levels, **kwargs):
    return sequential(conv(8, levels=levels, name="tiny", **kwargs), shape=(*side, 8))


SMALL = {
    "1x1": ((1, 1), {}),
    "2x2": ((2, 2), {}),
    "2x6": ((2, 6), {}),
    "2x2_strides": ((2, 2), {"strides": 2}),
    "4x4_dilation": ((4, 4), {"dilation_rate": 2}),
    "2x2_bias": ((2, 2), {"use_bias": True}),
}


@pytest.mark.parametrize("levels", LEVELS)
@pytest.mark.parametrize("case", cases(SMALL))
def test_small_maps(case, levels):
    side, kwargs = SMALL[case]
    model = small_model(side, levels, **kwargs)
    with pytest.warns(SmallMapWarning, match=r"tiny.*rewrite"):
        tflite = convert(model)
    assert assert_equal_outputs(model, tflite).kernel == "LCE reference"
    with warnings.catch_warnings():
        warnings.simplefilter("error", SmallMapWarning)
        rewritten = convert(model, small_maps="rewrite")
    report = assert_equal_outputs(model, rewritten)
    assert report.kernel == "LCE indirect"
    assert report.packed == ["tiny"]
    for kernel in ({}, {"use_indirect_bgemm": True}, {"use_reference_bconv": True}):
        outputs = run(rewritten, images(model), **kernel)
        np.testing.assert_allclose(outputs, report.keras_outputs, rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize("kwargs", [{"pad_values": 1.0}, {"size": 1}, {"padding": "valid"}])
def test_no_warning_where_nothing_is_wrong(kwargs):
    side = (3, 3) if "padding" in kwargs else (2, 2)
    with warnings.catch_warnings():
        warnings.simplefilter("error", SmallMapWarning)
        convert(small_model(side, (-1, 1), **kwargs))


def test_small_maps_in_a_network_are_named():
    model = sequential(
        conv(8, name="large"),
        conv(8, strides=2, name="halves"),
        conv(8, name="small"),
        shape=(4, 4, 8),
    )
    with pytest.warns(SmallMapWarning) as caught:
        convert(model)
    (message,) = [str(w.message) for w in caught if w.category is SmallMapWarning]
    assert "small" in message
    assert "large" not in message.replace("larger", "")
    assert "halves" not in message


@pytest.mark.slow
@pytest.mark.parametrize("levels", LEVELS)
def test_rewritten_large_kernels_stay_small(levels):
    model = sequential(conv(512, levels=levels, name="tiny"), shape=(2, 2, 512))
    tflite = convert(model, small_maps="rewrite")
    assert assert_equal_outputs(model, tflite, count=1).packed == ["tiny"]
    assert len(tflite) < 350_000


# Layers that cannot pack ----------------------------------------------------------------------


def dense():
    return lq.layers.QuantDense(
        4, input_quantizer="ste_sign", kernel_quantizer="ste_sign", name="odd"
    )


STAYS_FLOAT = {
    "no_input_quantizer": (lambda: quant_conv(input_quantizer=None, name="odd"), "input_quantizer"),
    "dense": (dense, "1x1"),
    "depthwise": (
        lambda: lq.layers.QuantDepthwiseConv2D(
            3, input_quantizer="ste_sign", depthwise_quantizer="ste_sign", name="odd"
        ),
        "no 1-bit op",
    ),
    "separable": (
        lambda: lq.layers.QuantSeparableConv2D(
            4,
            3,
            input_quantizer="ste_sign",
            depthwise_quantizer="ste_sign",
            pointwise_quantizer="ste_sign",
            name="odd",
        ),
        "no 1-bit op",
    ),
    "transpose": (
        lambda: lq.layers.QuantConv2DTranspose(
            4, 3, input_quantizer="ste_sign", kernel_quantizer="ste_sign", name="odd"
        ),
        "no 1-bit op",
    ),
    "two_bits": (
        lambda: quant_conv(input_quantizer=lq.quantizers.DoReFa(2), name="odd"),
        "2",
    ),
}


@pytest.mark.parametrize("case", STAYS_FLOAT)
def test_layers_that_stay_float_are_named(case):
    make, reason = STAYS_FLOAT[case]
    # The normalisation keeps signs of exact zeros, and so of -0.0, out of the comparison.
    model = sequential(conv(8, name="fine"), tf.keras.layers.BatchNormalization(), make())
    with pytest.raises(ConversionError, match=f"odd: .*{reason}") as caught:
        convert(model)
    assert "fine" not in str(caught.value)
    assert "allow_float" in str(caught.value)
    report = assert_equal_outputs(model, convert(model, allow_float=["odd"]))
    assert (report.packed, report.left_float) == (["fine"], ["odd"])


def test_one_dimensional_convolution_is_named():
    odd = lq.layers.QuantConv1D(
        4, 3, input_quantizer="ste_sign", kernel_quantizer="ste_sign", name="odd"
    )
    with pytest.raises(ConversionError, match=r"odd: .*no 1-bit op"):
        convert(sequential(odd, shape=(8, 5)))


def test_all_layers_that_stay_float_are_named():
    model = sequential(quant_conv(input_quantizer=None, name="first"), conv(name="fine"), dense())
    with pytest.raises(ConversionError, match=r"(?s)first: .*odd: ") as caught:
        convert(model)
    assert "fine" not in str(caught.value)
    with pytest.raises(ConversionError, match="odd: ") as caught:
        convert(model, allow_float=["first"])
    assert "first" not in str(caught.value)


def test_binary_inputs_from_another_layer_are_enough():
    sign = lq.quantizers.SteSign()
    assert operators(convert(sequential(sign, quant_conv(input_quantizer=None)))) == [
        "LceQuantize",
        "LceBconv2d",
    ]


def test_of_equal_kernels_the_float_one_is_named():
    model = sequential(
        quant_conv(5, input_quantizer=None, name="float_input"), quant_conv(5, name="fine")
    )
    model.layers[1].set_weights(model.layers[0].get_weights())
    with pytest.raises(ConversionError, match=r"float_input: .*input_quantizer") as caught:
        convert(model)
    assert "fine" not in str(caught.value)


def test_layers_inside_wrappers_are_not_overlooked():
    wrapped = tf.keras.layers.TimeDistributed(dense(), name="wrapper")
    with pytest.raises(ConversionError, match="odd"):
        convert(sequential(wrapped, shape=(4, 5)))


@pytest.mark.parametrize("levels", LEVELS)
def test_layers_with_a_call_of_their_own(levels):
    class Doubled(lq.layers.QuantConv2D):
        def call(self, inputs):
            return 2 * super().call(inputs)

    quantizer = SiMaNQuantizer(levels=levels)
    layer = Doubled(4, 3, input_quantizer="ste_sign", kernel_quantizer=quantizer, name="conv")
    model = sequential(layer)
    assert assert_equal_outputs(model, convert(model)).packed == ["conv"]


def test_files_that_no_kernel_of_lce_computes():
    model = sequential(conv(pad_values=0), shape=(2, 2, 5))
    with pytest.warns(UserWarning, match="not compared with the model.*runtime='siman'") as caught:
        tflite = convert(model)
    assert [w.category for w in caught] == [SmallMapWarning, UserWarning]
    with pytest.raises(ValueError, match="small_maps='rewrite'"):
        verify(model, tflite, images(model))


@pytest.mark.filterwarnings("ignore:.*no binary layer")
def test_outputs_that_are_not_told_apart_by_sample():
    inputs = tf.keras.Input((4,))
    outputs = tf.keras.layers.Dense(8)(inputs)
    for output, reason in (
        (tf.reshape(outputs, (-1, 4)), "has 8 rows for 4 samples.*fix the batch size"),
        (tf.reduce_sum(outputs), "for one sample depend on the others"),
    ):
        with pytest.raises(ConversionError, match=reason):
            convert(tf.keras.Model(inputs, output))


def test_unknown_names_in_allow_float():
    with pytest.raises(ValueError, match=r"(?s)convv.*'conv'"):
        convert(sequential(conv(name="conv")), allow_float=["convv"])


@pytest.mark.parametrize("limit", [0, float("nan"), "a", True])
def test_time_limits_that_are_none(limit):
    with pytest.raises(ValueError, match=f"time_limit={limit!r} must be above 0 seconds"):
        convert(sequential(conv()), time_limit=limit)


def test_unknown_small_maps():
    with pytest.raises(ValueError, match="small_maps='ignore'"):
        convert(sequential(conv()), small_maps="ignore")


def test_nan_kernels_are_named():
    model = sequential(conv(name="first"), conv(name="broken"))
    kernel = np.ones(model.get_layer("broken").kernel.shape, np.float32)
    kernel[0, 0, 0, 0] = np.nan
    model.get_layer("broken").kernel.assign(kernel)
    with pytest.raises(ConversionError, match=r"(?s)broken.*NaN"):
        convert(model)


class Subclassed(tf.keras.Model):
    def __init__(self):
        super().__init__(name="subclassed")
        self.conv = conv()

    def call(self, inputs):
        return self.conv(inputs)


@pytest.mark.parametrize("is_nested", [False, True])
def test_subclassed_models(is_nested):
    model = Subclassed()
    model(np.zeros((1, 6, 6, 5), np.float32))
    if is_nested:
        model = tf.keras.Sequential([tf.keras.Input((6, 6, 5)), model])
    tflite = convert(model)
    pictures = rng().normal(size=(3, 6, 6, 5)).astype(np.float32)
    np.testing.assert_allclose(run(tflite, pictures), model(pictures), rtol=1e-4, atol=1e-4)
    assert operators(tflite).count("LceBconv2d") == 1


def test_subclassed_models_that_were_never_called():
    with pytest.raises(ConversionError, match=r"'subclassed' is not built.*model\(images"):
        convert(Subclassed())


def test_unbuilt_models():
    with pytest.raises(ConversionError):
        convert(tf.keras.Sequential([conv()]))


def test_sequential_models_built_without_an_input_layer():
    model = tf.keras.Sequential([conv(name="conv")])
    model.build((None, 6, 6, 5))
    assert assert_equal_outputs(randomised(model), convert(model)).packed == ["conv"]


def test_a_model_without_binary_layers_converts_with_a_warning():
    model = sequential(tf.keras.layers.Conv2D(3, 3))
    with pytest.warns(UserWarning, match="no binary"):
        tflite = convert(model)
    assert verify(model, tflite, images(model)).packed == []


# verify ---------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def converted():
    model = sequential(
        conv(8, name="conv"),
        tf.keras.layers.GlobalAveragePooling2D(),
        tf.keras.layers.Dense(3),
    )
    return model, convert(model)


def test_report(converted):
    model, tflite = converted
    report = verify(model, tflite, images(model, 5))
    assert report.images == 5
    assert report.agreement == 1
    assert report.size_bytes == len(tflite)
    binary, other = 9 * 5 * 8, 8 + 8 * 3 + 3
    assert report.theoretical_bytes == 9 * 8 * 4 + 4 * other
    assert report.float32_bytes == 4 * (binary + other)
    assert report.keras_outputs.shape == report.tflite_outputs.shape == (5, 3)
    assert "keras_outputs" not in repr(report)
    with pytest.raises(AttributeError):
        report.images = 6


def test_report_is_an_aligned_table(converted):
    model, tflite = converted
    text = str(verify(model, tflite, images(model)))
    lines = text.splitlines()
    # Every value begins in the same column, two spaces after the longest label.
    columns = {line.index(line.split("  ")[-1].strip()) for line in lines}
    assert len(columns) == 1
    for part in ("100.00%", "1 of 1", "none", f"{len(tflite):,} bytes", "indirect"):
        assert part in text


def test_another_models_file_differs(converted):
    model, _ = converted
    other = tf.keras.models.clone_model(model)
    report = verify(model, convert(randomised(other, seed=9)), images(model))
    assert report.max_abs_difference > 0.01
    assert report.left_float == ["conv"]


def test_stock_conversion_is_seen_through():
    model = sequential(conv(levels=(0, 1), name="conv"))
    report = verify(model, lce.convert_keras_model(model), images(model))
    assert report.left_float == ["conv"]


def test_path(converted, tmp_path):
    model, tflite = converted
    (tmp_path / "model.tflite").write_bytes(tflite)
    for path in (tmp_path / "model.tflite", str(tmp_path / "model.tflite")):
        assert verify(model, path, images(model)).max_abs_difference < 1e-4
    with pytest.raises(FileNotFoundError, match=r"absent\.tflite"):
        verify(model, tmp_path / "absent.tflite", images(model))


@pytest.mark.parametrize("shape", [(2, 7, 6, 5), (6, 7, 5), (0, 6, 7, 5)])
def test_wrong_images(converted, shape):
    model, tflite = converted
    with pytest.raises(ValueError, match=r"6, 7, 5|no images") as caught:
        verify(model, tflite, np.zeros(shape, np.float32))
    assert str(shape[0]) in str(caught.value)


@pytest.mark.parametrize("content", [b"", b"TFL3", b"no model" * 50])
def test_not_a_tflite_file(converted, content):
    model, _ = converted
    with pytest.raises(ValueError, match="TFLite"):
        verify(model, content, images(model))


def test_truncated_files(converted):
    """At every length: a file that passed would end the process in the interpreter."""
    model, tflite = converted
    for length in range(0, len(tflite) - 1, 7):
        with pytest.raises(ValueError, match="TFLite"):
            operators(tflite[:length])
    with pytest.raises(ValueError, match="TFLite"):
        verify(model, tflite[: len(tflite) // 2], images(model))


def test_the_graph_of_a_conversion_is_let_go():
    """TensorFlow's register of custom gradients holds graphs that have some, and their weights."""
    model = sequential(conv(), SampleSign())
    verify(model, convert(model), images(model))
    gc.collect()
    graphs = [item for item in gc.get_objects() if type(item).__name__ == "FuncGraph"]
    assert not [graph.name for graph in graphs if graph.name == "call"]
