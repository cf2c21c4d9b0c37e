"""Kinds of models that went wrong without a word, hung or crashed: right, or one clear refusal."""

import cProfile
import pstats
import warnings
from pathlib import Path

import larq as lq
import numpy as np
import pytest
import tensorflow as tf

from siman_larq import ConversionError, SiMaNConv2D, SiMaNQuantizer, SmallMapWarning, convert
from siman_larq.conversion import operators, process, proof
from siman_larq.conversion.flatbuffer import TFLiteFile, with_input_shapes
from siman_larq.conversion.process import run_file
from siman_larq.conversion.signature import file_names

layers = tf.keras.layers
SHAPE = (6, 7, 5)


def randomised(model, seed=2):
    draw = np.random.default_rng(seed)
    for weight in model.weights:
        low_high = (0.5, 2.0) if "variance" in weight.name else (-1.0, 1.0)
        if weight.dtype.is_floating:
            weight.assign(draw.uniform(*low_high, size=weight.shape))
    return model


def conv(filters=5, size=3, levels=(-1, 1), **kwargs):
    return SiMaNConv2D(filters, size, kernel_quantizer=SiMaNQuantizer(levels=levels), **kwargs)


def quant_conv(filters=8, **kwargs):
    defaults = {"input_quantizer": "ste_sign", "kernel_quantizer": "ste_sign", "padding": "same"}
    return lq.layers.QuantConv2D(filters, 3, **{**defaults, **kwargs})


def sequential(*parts, shape=SHAPE):
    return randomised(tf.keras.Sequential([tf.keras.Input(shape), *parts]))


def functional(make, shape=SHAPE):
    inputs = tf.keras.Input(shape)
    return randomised(tf.keras.Model(inputs, make(inputs)))


def pictures(*shape, count=3):
    return np.random.default_rng(7).normal(size=(count, *shape)).astype(np.float32)


def assert_right(model, tflite, *inputs, reference=False):
    """Each sample of the file's outputs, in order, is the model's."""
    inputs = inputs or (pictures(*model.input_shape[1:]),)
    structure = inputs[0] if len(inputs) == 1 else list(inputs)
    expected = tf.nest.flatten(model.predict(structure, verbose=0))
    given = run_file(tflite, [value[:, None] for value in inputs], reference)
    assert len(given) == len(expected)
    for ours, theirs in zip(expected, given, strict=True):
        assert np.abs(ours).max() > 0.05
        np.testing.assert_allclose(theirs[:, 0], ours, rtol=1e-4, atol=2e-5 * np.abs(ours).max())


def packed(tflite):
    return operators(tflite).count("LceBconv2d")


class TestOrder:
    @pytest.mark.parametrize("count", [2, 3, 5])
    def test_outputs(self, count):
        def heads(inputs):
            maps = layers.GlobalAveragePooling2D()(conv()(inputs))
            return [layers.Dense(n + 2, name=f"head_{9 - n}")(maps) for n in range(count)]

        model = functional(heads)
        tflite = convert(model)
        assert file_names(TFLiteFile(tflite).content)[1] == model.output_names
        assert_right(model, tflite)

    def test_inputs(self):
        late, early = (tf.keras.Input(SHAPE, name=name) for name in ("b", "a"))
        model = randomised(tf.keras.Model([late, early], conv()(late) + 2 * conv()(early)))
        tflite = convert(model)
        assert file_names(TFLiteFile(tflite).content)[0] == ["b", "a"]
        assert_right(model, tflite, pictures(*SHAPE), 1 - pictures(*SHAPE))

    def test_dicts(self):
        first, second = tf.keras.Input(SHAPE), tf.keras.Input((3,))
        outputs = {"z": layers.Dense(2)(second), "y": conv()(first)}
        model = randomised(tf.keras.Model({"q": first, "p": second}, outputs))
        tflite = convert(model)
        assert file_names(TFLiteFile(tflite).content) == (["p", "q"], ["y", "z"])
        small, large = pictures(3), pictures(*SHAPE)
        y, z = run_file(tflite, [small[:, None], large[:, None]])
        expected = model.predict({"p": small, "q": large}, verbose=0)
        np.testing.assert_allclose(y[:, 0], expected["y"], rtol=1e-4, atol=1e-4)
        np.testing.assert_allclose(z[:, 0], expected["z"], rtol=1e-4, atol=1e-5)

    def test_an_output_that_is_there_twice_and_an_input_that_is_an_output(self):
        def ends(inputs):
            maps = conv(name="conv")(inputs)
            return [maps, inputs, maps]

        model = functional(ends)
        tflite = convert(model)
        assert len(set(file_names(TFLiteFile(tflite).content)[1])) == 3
        assert_right(model, tflite)


BROKEN = {
    "stem": ("stem", "kernel"),
    "head": ("head", "bias"),
    "norm": ("norm", "moving_variance"),
    "binary": ("binary", "kernel"),
    "alpha": ("binary", "alpha"),
}


@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize("case", BROKEN)
def test_weights_that_are_not_finite(case, value):
    model = sequential(
        layers.Conv2D(5, 3, name="stem"),
        conv(name="binary"),
        layers.BatchNormalization(name="norm"),
        layers.Dense(3, name="head"),
    )
    layer, weight = BROKEN[case]
    variable = getattr(model.get_layer(layer), weight)
    values = np.ones(variable.shape, np.float32)
    values.flat[0] = value
    variable.assign(values)
    with pytest.raises(ConversionError, match=rf"1 of .*'{weight}' of layer '{layer}' are NaN"):
        convert(model)


QUANTIZERS = {
    "ternary": ("ste_tern", "precision 2"),
    "zero_one": ("ste_heaviside", "other values than -1 and \\+1"),
    "own": (lambda x: tf.sign(tf.nn.relu(x)), "precision None"),
}


class TestInputsThatOneBitCannotHold:
    @pytest.mark.parametrize(("case", "dilation"), [*((c, 1) for c in QUANTIZERS), ("zero_one", 2)])
    def test_are_refused_and_right_where_float_is_allowed(self, case, dilation):
        quantizer, reason = QUANTIZERS[case]
        settings = {"input_quantizer": quantizer, "dilation_rate": dilation}
        model = sequential(quant_conv(name="odd", **settings), quant_conv(name="fine"))
        with pytest.raises(ConversionError, match=rf"(?s)1 binary layers.*odd: .*{reason}"):
            convert(model)
        tflite = convert(model, allow_float=["odd"])
        assert packed(tflite) == 1
        assert_right(model, tflite)


def test_weights_of_almost_one_magnitude_do_not_lose_the_difference():
    class Almost(lq.quantizers.Quantizer):
        precision = 1

        def call(self, inputs):
            signs = tf.where(inputs < 0, -1.0, 1.0)
            return signs * (1 + 0.002 * tf.cast(inputs > 0.5, tf.float32))

    model = sequential(quant_conv(kernel_quantizer=Almost(), name="conv"))
    with pytest.raises(ConversionError, match="conv: .*differ in magnitude"):
        convert(model)
    assert_right(model, convert(model, allow_float=["conv"]))


class Gain(lq.layers.QuantConv2D):
    def convolution_op(self, inputs, kernel):
        return 2.5 * super().convolution_op(inputs, kernel)


class Standardised(lq.layers.QuantConv2D):
    def convolution_op(self, inputs, kernel):
        kernel = tf.convert_to_tensor(kernel)
        return super().convolution_op(inputs, kernel - tf.reduce_mean(kernel, axis=[0, 1, 2]))


class SiMaNGain(SiMaNConv2D):
    def convolution_op(self, inputs, kernel):
        return 2.5 * super().convolution_op(inputs, kernel)


class TestOwnConvolutions:
    @pytest.mark.parametrize("kind", [Gain, SiMaNGain])
    def test_convert_with_their_own(self, kind):
        model = sequential(kind(8, 3, input_quantizer="ste_sign", kernel_quantizer="ste_sign"))
        tflite = convert(model)
        assert packed(tflite) == 1
        assert_right(model, tflite)

    @pytest.mark.parametrize("kind", [Standardised, SiMaNGain])
    def test_are_not_dropped_for_levels_0_1(self, kind):
        layer = kind(8, 3, input_quantizer="ste_sign", kernel_quantizer="siman", name="own")
        model = sequential(layer)
        with pytest.raises(ConversionError, match=r"own: .*convolution_op of its own.*\(-1, 1\)"):
            convert(model)
        assert_right(model, convert(model, allow_float=["own"]))

    def test_are_not_dropped_for_small_maps(self):
        model = sequential(
            Gain(8, 3, padding="same", input_quantizer="ste_sign", kernel_quantizer="ste_sign"),
            shape=(2, 2, 5),
        )
        with pytest.raises(ConversionError, match="Gain with a convolution_op of its own"):
            convert(model, small_maps="rewrite")

    def test_that_change_the_kernel_stay_float(self):
        layer = Standardised(8, 3, input_quantizer="ste_sign", kernel_quantizer="ste_sign")
        with pytest.raises(ConversionError, match="no constant of -1 and"):
            convert(sequential(layer))


@pytest.mark.parametrize("levels", [(-1, 1), (0, 1)])
class TestChannelsFirst:
    def test_is_refused(self, levels):
        quantizer = SiMaNQuantizer(levels=levels)
        model = sequential(
            quant_conv(kernel_quantizer=quantizer, data_format="channels_first", name="conv")
        )
        with pytest.raises(ConversionError, match="conv: .*channels_last"):
            convert(model)

    def test_as_the_global_setting(self, levels):
        tf.keras.backend.set_image_data_format("channels_first")
        try:
            quantizer = SiMaNQuantizer(levels=levels)
            model = sequential(quant_conv(kernel_quantizer=quantizer, data_format="channels_last"))
            tflite = convert(model)
        finally:
            tf.keras.backend.set_image_data_format("channels_last")
        assert_right(model, tflite)


class Residual(layers.Layer):
    """A block as people write it: a layer of one's own with layers in it, and no get_config."""

    def __init__(self, levels):
        super().__init__()
        self.conv = conv(5, levels=levels)
        self.norm = layers.BatchNormalization()

    def call(self, inputs, training=False):
        return inputs + self.norm(self.conv(inputs), training=training)


class Traced(layers.Layer):
    def __init__(self):
        super().__init__()
        self.conv = conv()

    @tf.function
    def call(self, inputs):
        return self.conv(inputs)


INSIDE = {
    "nested": lambda **kw: tf.keras.Sequential([conv(**kw)]),
    "own_layer": lambda levels=(-1, 1): Residual(levels),
    "time_distributed": lambda **kw: layers.TimeDistributed(conv(**kw)),
}


def within(case, levels, side):
    shape = (3, side, side, 5) if case == "time_distributed" else (side, side, 5)
    return sequential(INSIDE[case](levels=levels), shape=shape)


@pytest.mark.parametrize("levels", [(-1, 1), (0, 1)])
@pytest.mark.parametrize("case", INSIDE)
def test_layers_within_layers(case, levels):
    model = within(case, levels, side=6)
    tflite = convert(model)
    assert packed(tflite) == (1 if levels == (-1, 1) else 2)
    assert_right(model, tflite)


@pytest.mark.parametrize("case", INSIDE)
def test_small_maps_within_layers(case):
    model = within(case, (-1, 1), side=2)
    with pytest.warns(SmallMapWarning, match="on maps smaller than their kernel"):
        convert(model)
    assert_right(model, convert(model, small_maps="rewrite"))


def test_maps_of_unknown_size():
    model = sequential(conv(name="conv"), layers.GlobalAveragePooling2D(), shape=(None, None, 5))
    with pytest.warns(SmallMapWarning, match="conv pad with zeros on maps of unknown size"):
        convert(model)
    with pytest.raises(ConversionError, match="conv pad .*inputs of a fixed size"):
        convert(model, small_maps="rewrite")


@pytest.mark.parametrize(
    "settings",
    [{}, {"levels": (0, 1)}, {"size": (2, 5)}, {"size": (1, 3), "strides": (2, 1)}],
    ids=["3x3", "levels 0 and 1", "2x5", "1x3 in strides"],
)
def test_ones_around_maps_of_unknown_size(settings):
    layer = conv(input_quantizer="ste_sign", padding="same", pad_values=1, **settings)
    model = sequential(layer, layers.BatchNormalization(), shape=(None, None, 5))
    tflite = convert(model)
    assert "LceBconv2d" in operators(tflite)
    for size in [(9, 8), (2, 3)]:
        images = pictures(*size, 5)
        assert_right(model, with_input_shapes(tflite, [(1, *size, 5)]), images)


@pytest.mark.parametrize("settings", [{"strides": 2, "pad_values": 1}, {"dilation_rate": 2}])
def test_what_needs_maps_of_known_size(settings):
    layer = conv(input_quantizer="ste_sign", padding="same", **settings)
    with pytest.raises(ConversionError, match="for maps of a known size only; give .* fixed size"):
        convert(sequential(layer, shape=(None, None, 5)))


@pytest.mark.parametrize("value", [-1, 0.5])
def test_padding_with_what_lce_has_not(value):
    layer = conv(input_quantizer="ste_sign", padding="same", pad_values=value)
    with pytest.raises(ConversionError, match=f"pads with {value}, and LCE with 0 or 1; use"):
        convert(sequential(layer))


@pytest.mark.filterwarnings("ignore:.*no binary layer")
def test_numbers_behind_transposed_convolutions():
    """LCE takes a single one for the bias of one filter, and adds one that is taken off."""

    def make(inputs):
        a, b, c = (layers.Conv2DTranspose(4, 3, strides=2)(inputs) for _ in range(3))
        offsets = np.array([0.1, 0.2, 0.3, 0.4], np.float32)
        return [a * 0.3 + 0.2, b - offsets, layers.Activation("hard_sigmoid")(c)]

    model = functional(make)
    assert_right(model, convert(model))


@pytest.mark.filterwarnings("ignore:.*no binary layer")
def test_what_tflite_has_no_operator_for():
    with pytest.raises(ConversionError, match="TFLite has no operator Softsign; write"):
        convert(sequential(layers.Activation("softsign")))


def test_functions_that_keep_traces_compute_what_they_did():
    model = sequential(Traced())
    images = pictures(*SHAPE)
    model.predict(images, verbose=0)
    assert_right(model, convert(model))
    kernel = model.layers[0].conv.kernel
    kernel.assign(kernel.latent_variable[::-1])
    expected = model.layers[0].conv(images)
    np.testing.assert_allclose(model.predict(images, verbose=0), expected, rtol=1e-5, atol=1e-5)


class Shift(layers.Layer):
    def build(self, shape):
        self.shift = self.add_weight("shift", (1, 1, 1, shape[-1]))

    def call(self, inputs):
        return inputs + self.shift


class Scale(layers.Layer):
    def build(self, shape):
        self.scale = self.add_weight("scale", (1, 1, 1, 1))

    def call(self, inputs):
        return inputs * self.scale


def normalization():
    layer = layers.Normalization()
    layer.adapt(pictures(6, 7, 8))
    return layer


CONSTANTS = {
    "shift": lambda: [Shift()],
    "scale": lambda: [Scale()],
    "both": lambda: [Scale(), Shift(), layers.ReLU()],
    "normalization": lambda: [normalization()],
    "bits": lambda: [Shift(), quant_conv(pad_values=1.0)],
}


class TestConstantsBehindAConvolution:
    @pytest.mark.parametrize("case", CONSTANTS)
    def test_of_rank_4(self, case):
        model = sequential(quant_conv(pad_values=1.0), *CONSTANTS[case]())
        assert_right(model, convert(model))

    def test_that_do_not_fit_name_the_layer(self):
        three = layers.Lambda(lambda x: x * tf.constant([1.0, 2.0, 3.0]))
        with pytest.raises(ConversionError, match=r"does not run: .*directly behind layer 'one'"):
            convert(sequential(quant_conv(1, name="one"), three))


class TestOfOnesOwn:
    def test_functions(self):
        model = sequential(
            quant_conv(
                activation=lambda x: tf.nn.relu(x) - 0.1,
                kernel_initializer=lambda shape, dtype=None, **_: tf.ones(shape),
                use_bias=True,
            ),
            layers.Lambda(lambda x: 0.5 * x),
            quant_conv(kernel_quantizer=lambda w: tf.where(w < 0, -1.0, 1.0)),
        )
        tflite = convert(model)
        assert packed(tflite) == 2
        assert_right(model, tflite)

    def test_augmentation(self):
        model = sequential(
            layers.RandomFlip(), layers.RandomRotation(0.1), layers.Rescaling(2.0), conv()
        )
        assert_right(model, convert(model))

    @pytest.mark.parametrize("policy", ["float16", "bfloat16", "float64"])
    def test_policies_of_other_floats(self, policy):
        tf.keras.mixed_precision.set_global_policy(policy)
        model = tf.keras.Sequential([tf.keras.Input(SHAPE, dtype="float32"), quant_conv(name="c")])
        with pytest.raises(ConversionError, match=rf"'kernel' of layer 'c' are of dtype {policy}"):
            convert(model)

    @pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
    def test_mixed_precision_of_stock_layers(self, policy):
        tf.keras.mixed_precision.set_global_policy(policy)
        model = sequential(quant_conv(use_bias=True), layers.BatchNormalization())
        tf.keras.mixed_precision.set_global_policy("float32")
        twin = sequential(quant_conv(use_bias=True), layers.BatchNormalization())
        twin.set_weights(model.get_weights())
        assert_right(twin, convert(model))
        assert model.layers[0].compute_dtype == policy.removeprefix("mixed_")

    def test_a_wrapper_around_a_functional_model(self):
        class Wrapper(tf.keras.Model):
            def __init__(self):
                super().__init__(name="wrapper")
                self.inner = sequential(conv())

            def call(self, inputs):
                return {"maps": self.inner(inputs)}

        model = Wrapper()
        with pytest.raises(ConversionError, match=r"'wrapper' is not built.*model\(images"):
            convert(model)
        model(pictures(*SHAPE))
        tflite = convert(model)
        assert file_names(TFLiteFile(tflite).content)[1] == ["maps"]
        assert_right(model, tflite, pictures(*SHAPE))


class TestModelsThatNoFileCanEqual:
    def test_random_ones(self):
        model = functional(lambda x: layers.Dropout(0.5)(conv()(x), training=True))
        with pytest.raises(ConversionError, match=r"called again.*training=True"):
            convert(model)

    def test_ones_that_look_at_the_whole_batch(self):
        model = functional(lambda x: conv()(x) - tf.reduce_mean(x, axis=0, keepdims=True))
        with pytest.raises(ConversionError, match="depend on the others in its batch"):
            convert(model)

    def test_statistics_stay_as_they_were(self):
        def twice(inputs):
            norm = layers.BatchNormalization()
            return norm(conv()(norm(inputs)), training=True)

        model = functional(twice)
        before = model.get_weights()
        with pytest.raises(ConversionError, match="training=True"):
            convert(model)
        for old, new in zip(before, model.get_weights(), strict=True):
            np.testing.assert_array_equal(old, new)


class TestLayersThatAreThereTwice:
    def test_shared_by_two_submodels(self):
        shared = conv()
        parts = [
            tf.keras.Sequential([tf.keras.Input(SHAPE), shared, *more])
            for more in ([], [layers.ReLU()])
        ]
        model = functional(lambda x: parts[0](x) + parts[1](x))
        assert_right(model, convert(model))

    def test_with_equal_weights(self):
        model = functional(lambda x: conv(name="a")(x) + conv(name="b")(x))
        model.get_layer("b").set_weights(model.get_layer("a").get_weights())
        assert_right(model, convert(model))


def test_scopes_left_on_by_an_exception_change_nothing():
    model = sequential(conv(), layers.BatchNormalization(), quant_conv())
    expected = convert(model)
    lq.context.quantized_scope(True).__enter__()
    lq.context.metrics_scope(["flip_ratio"]).__enter__()
    try:
        assert convert(model) == expected
        assert lq.context.should_quantize()
    finally:
        lq.context.quantized_scope(False).__enter__()
        lq.context.get_training_metrics().clear()


def test_quantizers_with_metrics():
    quantizer = lq.quantizers.SteSign(metrics=["flip_ratio"])
    model = sequential(quant_conv(kernel_quantizer=quantizer))
    assert_right(model, convert(model))


class TestProcess:
    def test_that_takes_too_long(self):
        with pytest.raises(ConversionError, match=r"stopped after 0\.001 s \(time_limit\)"):
            convert(sequential(conv()), time_limit=0.001)

    def test_that_dies(self, monkeypatch, tmp_path):
        worker = tmp_path / "worker.py"
        worker.write_text("import os, signal\nos.kill(os.getpid(), signal.SIGSEGV)\n")
        monkeypatch.setattr(process, "_WORKER", Path(worker))
        with pytest.raises(ConversionError, match="died of SIGSEGV"):
            convert(sequential(conv()))

    def test_that_lacks_memory(self, monkeypatch):
        monkeypatch.setattr(process, "_memory", lambda: 200 * 2**20)
        with pytest.raises(ConversionError, match="Larq Compute Engine (died|failed)"):
            convert(sequential(conv()))

    def test_time_limits_are_checked(self):
        with pytest.raises(ValueError, match="time_limit=0 must be above 0"):
            convert(sequential(conv()), time_limit=0)


SCALED = {
    "zero_padding": lambda: [conv(32)],
    "valid": lambda: [conv(32, padding="valid")],
    "levels_0_1": lambda: [conv(32, levels=(0, 1))],
    "scale": lambda: [quant_conv(32), Scale(), layers.MaxPool2D()],
    "no_scale": lambda: [quant_conv(32)],
}


@pytest.mark.parametrize("case", SCALED)
def test_sums_of_zero_behind_a_scale_keep_their_sign(case):
    model = sequential(*SCALED[case](), quant_conv(pad_values=1.0), shape=(8, 8, 4))
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        assert_right(model, convert(model))


def test_integer_inputs():
    inputs = tf.keras.Input(SHAPE, dtype="uint8")
    outputs = conv()(tf.cast(inputs, tf.float32) / 255)
    model = randomised(tf.keras.Model(inputs, outputs))
    images = np.random.default_rng(0).integers(0, 256, (3, *SHAPE)).astype(np.uint8)
    assert_right(model, convert(model), images)


def test_inputs_of_16_bits():
    model = tf.keras.Sequential([tf.keras.Input(SHAPE, dtype="float16"), conv()])
    with pytest.raises(ConversionError, match=r"input of dtype float16.*dtype='float32'"):
        convert(model)


def test_a_fixed_batch():
    inputs = tf.keras.Input(SHAPE, batch_size=3)
    model = randomised(tf.keras.Model(inputs, conv()(inputs)))
    images = pictures(*SHAPE)
    (outputs,) = run_file(convert(model), [images[None]])
    np.testing.assert_allclose(outputs[0], model.predict(images, verbose=0), rtol=1e-4, atol=1e-5)


def test_fake_quantization_is_converted_or_the_layer_is_named():
    def model(*between):
        fake = layers.Lambda(lambda x: tf.quantization.fake_quant_with_min_max_args(x, -9, 9))
        return sequential(quant_conv(name="c"), *between, fake)

    with pytest.raises(ConversionError, match="directly behind layer 'c'.*PReLU"):
        convert(model())
    with pytest.warns(UserWarning, match="computes in integers"):
        assert packed(convert(model(layers.PReLU()))) == 1


@pytest.mark.filterwarnings("ignore:.*no binary layer")
def test_fake_quantization_beside_nan(monkeypatch):
    inputs = tf.keras.Input((4,))
    fake = layers.Lambda(lambda x: tf.quantization.fake_quant_with_min_max_args(x, -9, 9))
    outputs = [tf.math.log(inputs), fake(layers.Dense(3)(fake(inputs)))]
    model = tf.keras.Model(inputs, outputs)
    with pytest.warns(UserWarning, match=r"off by up to [\d.e-]+ of \d"):
        convert(model)

    def all_nan(_, steps):
        return [[np.full((1, 4), np.nan), np.full((1, 3), np.nan)] for _ in steps]

    monkeypatch.setattr(proof, "run_steps", all_nan)
    with pytest.raises(ConversionError, match="is off by inf of"):
        convert(model)


def test_nothing_is_printed_or_warned_of_where_all_is_well(capfd):
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        convert(sequential(conv()))
    assert "larq_compute_engine" not in capfd.readouterr().err


@pytest.mark.slow
def test_time_grows_as_the_layers_do():
    def calls(count):
        inputs = x = tf.keras.Input((8, 8, 8))
        for _ in range(count):
            x = layers.Add()([x, layers.BatchNormalization()(conv(8)(x))])
        model = tf.keras.Model(inputs, x)
        profile = cProfile.Profile()
        profile.runcall(convert, model)
        return pstats.Stats(profile).total_calls

    # Calls, not seconds, which other work on the machine would change.
    assert calls(24) < 4.4 * calls(6)
