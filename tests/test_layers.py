"""SiMaNConv2D: arithmetic, files, compilers, precision, several devices."""

import larq as lq
import numpy as np
import pytest
import tensorflow as tf

from siman_larq import ClipAnnealing, PercentileClip, SampleSign, SiMaNConv2D, SiMaNQuantizer
from siman_larq.math import magnitude_code, sample_sign
from siman_larq.training import make_strategy

LEVELS = [(0, 1), (-1, 1)]
SHAPE = (8, 8, 4)
IMAGES = np.random.default_rng(0).normal(size=(8, *SHAPE)).astype(np.float32)
LABELS = np.arange(8) % 3


def small_model(levels=(-1, 1), percent=0.0, prefix="model"):
    """SiMaNConv2D, and QuantConv2D by alias strings."""
    return tf.keras.Sequential(
        [
            tf.keras.Input(SHAPE),
            SiMaNConv2D(
                6,
                3,
                kernel_quantizer=SiMaNQuantizer(levels=levels),
                kernel_constraint=PercentileClip(percent),
                name=f"{prefix}_a",
            ),
            tf.keras.layers.BatchNormalization(name=f"{prefix}_b"),
            lq.layers.QuantConv2D(
                5,
                3,
                strides=2,
                input_quantizer="sample_sign",
                kernel_quantizer="siman",
                kernel_constraint=PercentileClip(percent),
                name=f"{prefix}_c",
            ),
            tf.keras.layers.GlobalAveragePooling2D(name=f"{prefix}_d"),
            tf.keras.layers.Dense(3, dtype="float32", name=f"{prefix}_e"),
        ]
    )


def compiled(model, **kwargs):
    loss = tf.keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(tf.keras.optimizers.SGD(0.05, momentum=0.9), loss, **kwargs)
    return model


def fit(model, **kwargs):
    options = {"batch_size": 4, "shuffle": False, "verbose": 0, **kwargs}
    return model.fit(IMAGES, LABELS, **options).history["loss"]


# --- arithmetic ------------------------------------------------------------------------------


@pytest.mark.parametrize("levels", LEVELS)
@pytest.mark.parametrize("strides", [1, 2])
@pytest.mark.parametrize("padding", ["same", "valid"])
def test_output(levels, strides, padding):
    layer = SiMaNConv2D(
        6, 3, strides, padding, kernel_quantizer=SiMaNQuantizer(levels=levels), use_bias=True
    )
    layer.build(IMAGES.shape)
    layer.bias.assign(tf.range(6, dtype=tf.float32))
    code = magnitude_code(tf.convert_to_tensor(layer.kernel), levels)
    expected = tf.nn.conv2d(sample_sign(tf.constant(IMAGES)), code, strides, padding.upper())
    expected = expected * layer.alpha + layer.bias
    np.testing.assert_allclose(layer(IMAGES), expected, atol=1e-5)


def test_gradients_are_those_of_the_plain_formula():
    layer = SiMaNConv2D(6, 3, strides=2)
    layer.build(IMAGES.shape)
    images, kernel, alpha = map(
        tf.constant, (IMAGES, layer.kernel.numpy(), np.linspace(0.5, 2, 6, dtype=np.float32))
    )
    layer.alpha.assign(alpha)
    with tf.GradientTape(persistent=True) as tape:
        tape.watch((images, kernel, alpha))
        loss = tf.reduce_sum(layer(images) ** 2)
        code = magnitude_code(kernel, (-1.0, 1.0))
        plain = tf.nn.conv2d(sample_sign(images), code, 2, "SAME") * alpha
        plain_loss = tf.reduce_sum(plain**2)
    actual = tape.gradient(loss, [images, layer.kernel, layer.alpha])
    expected = tape.gradient(plain_loss, [images, kernel, alpha])
    for a, e in zip(actual, expected, strict=True):
        np.testing.assert_allclose(a, e, rtol=1e-4, atol=1e-4 * np.abs(e).max())


def test_alpha_starts_at_the_mean_magnitude():
    layer = SiMaNConv2D(6, 3)
    layer.build((None, *SHAPE))
    expected = np.abs(layer.kernel.numpy()).mean((0, 1, 2))
    np.testing.assert_allclose(layer.alpha, expected, rtol=1e-5)
    layer = SiMaNConv2D(6, 3, alpha_initializer="ones")
    layer.build((None, *SHAPE))
    np.testing.assert_array_equal(layer.alpha, 1)


def test_defaults_are_not_shared():
    first, second = SiMaNConv2D(6, 3), SiMaNConv2D(6, 3)
    assert isinstance(first.input_quantizer, SampleSign)
    assert first.kernel_quantizer.levels == (-1, 1)
    assert first.kernel_constraint is not second.kernel_constraint
    assert first.kernel_quantizer is not second.kernel_quantizer


def test_channels_first_is_refused():
    with pytest.raises(ValueError, match="data_format='channels_first' is not supported"):
        SiMaNConv2D(6, 3, data_format="channels_first")


@pytest.mark.parametrize(("filters", "groups"), [(1, 1), (4, 2)])
def test_where_centring_is_refused(filters, groups):
    with pytest.raises(ValueError, match="centred=True with .* leave centred out"):
        SiMaNConv2D(filters, 3, groups=groups, centred=True)


@pytest.mark.parametrize("training", [False, True])
def test_forward_changes_no_trained_weight(training):
    model = small_model(percent=15.0)
    trained = [weight.numpy() for weight in model.trainable_weights]
    statistics = [weight.numpy() for weight in model.non_trainable_weights]
    model(IMAGES, training=training)
    for weight, before in zip(model.trainable_weights, trained, strict=True):
        np.testing.assert_array_equal(weight.numpy(), before)
    changed = [
        (weight.numpy() != before).any()
        for weight, before in zip(model.non_trainable_weights, statistics, strict=True)
    ]
    assert changed == [training] * 2


def test_names_do_not_matter():
    losses = []
    for prefix in ("model", "bias_bn_alpha"):
        tf.keras.utils.set_random_seed(1)
        losses.append(fit(compiled(small_model(percent=10.0, prefix=prefix)), epochs=2))
    assert losses[0] == losses[1]


# --- files -----------------------------------------------------------------------------------


@pytest.mark.parametrize("form", [".keras", ".h5", ""])
@pytest.mark.parametrize("levels", LEVELS)
def test_files(tmp_path, form, levels):
    model = small_model(levels, percent=7.5)
    path = str(tmp_path / "model") + form
    # "" is a SavedModel; Keras tells the others by their ending.
    model.save(path, **({} if form else {"save_format": "tf"}))
    loaded = tf.keras.models.load_model(path)
    np.testing.assert_array_equal(loaded(IMAGES), model(IMAGES))
    layer = loaded.layers[0]
    assert isinstance(layer, SiMaNConv2D)
    assert layer.kernel_quantizer.levels == levels
    assert layer.kernel_constraint.percent == 7.5


@pytest.mark.parametrize("form", [".weights.h5", ".h5", ""])
@pytest.mark.parametrize("levels", LEVELS)
def test_binary_weights_in_a_file(tmp_path, form, levels):
    model = small_model(levels)
    path = str(tmp_path / "weights") + form
    with lq.context.quantized_scope(True):
        model.save_weights(path)
    fresh = small_model(levels)
    fresh.load_weights(path)
    np.testing.assert_array_equal(fresh(IMAGES), model(IMAGES))


@pytest.mark.parametrize("form", [".keras", ".h5"])
@pytest.mark.parametrize("levels", LEVELS)
def test_binary_models_in_a_file(tmp_path, form, levels):
    model = small_model(levels)
    path = str(tmp_path / "model") + form
    with lq.context.quantized_scope(True):
        model.save(path)
    loaded = tf.keras.models.load_model(path)
    assert set(np.unique(loaded.layers[0].kernel.numpy())) == set(levels)
    np.testing.assert_array_equal(loaded(IMAGES), model(IMAGES))


def test_clone():
    model = small_model()
    clone = tf.keras.models.clone_model(model)
    clone.set_weights(model.get_weights())
    np.testing.assert_array_equal(clone(IMAGES), model(IMAGES))
    assert clone.layers[0].kernel_constraint is not model.layers[0].kernel_constraint


# --- compilers -------------------------------------------------------------------------------


@pytest.mark.parametrize("jit", [False, True])
def test_compiled_forward_and_gradient(jit):
    layer = SiMaNConv2D(6, 3)
    layer.build(IMAGES.shape)

    def both(images):
        with tf.GradientTape() as tape:
            tape.watch(images)
            outputs = layer(images)
        return outputs, tape.gradient(outputs, [images, layer.kernel, layer.alpha])

    images = tf.constant(IMAGES)
    outputs, gradients = both(images)
    traced, traced_gradients = tf.function(both, jit_compile=jit)(images)
    np.testing.assert_allclose(traced, outputs, atol=1e-5)
    for actual, expected in zip(traced_gradients, gradients, strict=True):
        np.testing.assert_allclose(actual, expected, atol=1e-5 * np.abs(expected).max())


@pytest.mark.parametrize("percent", [0.0, 15.0])
def test_fit_with_xla(percent):
    results = []
    for jit in (False, True):
        tf.keras.utils.set_random_seed(1)
        model = compiled(small_model(percent=percent), jit_compile=jit)
        fit(model, batch_size=8)
        results.append([weight.numpy() for weight in model.trainable_weights])
    for plain, jitted in zip(*results, strict=True):
        np.testing.assert_allclose(jitted, plain, atol=1e-5)


def test_run_eagerly():
    results = []
    for eagerly in (False, True):
        tf.keras.utils.set_random_seed(1)
        results.append(fit(compiled(small_model(percent=10.0), run_eagerly=eagerly), epochs=2))
    np.testing.assert_allclose(results[0], results[1], rtol=1e-4)


# --- precision -------------------------------------------------------------------------------

POLICIES = pytest.mark.parametrize("dtype", ["bfloat16", "float16"])


@POLICIES
@pytest.mark.parametrize("levels", LEVELS)
def test_mixed_precision_codes_float32_weights(dtype, levels):
    tf.keras.mixed_precision.set_global_policy(f"mixed_{dtype}")
    # Weights that differ by less than 16 bits tell: rounded first they would all tie.
    close = 1 + np.random.default_rng(0).uniform(0, 1e-4, (3, 3, 4, 6)).astype(np.float32)
    layer = SiMaNConv2D(6, 3, kernel_quantizer=SiMaNQuantizer(levels=levels))
    layer.build(IMAGES.shape)
    layer.kernel.assign(close)
    layer.alpha.assign(tf.ones(6))
    assert layer.kernel.dtype == tf.float32
    outputs = layer(IMAGES)
    assert outputs.dtype == dtype

    code = magnitude_code(tf.constant(close), levels).numpy()
    assert (code == levels[1]).sum() == 18 * 6
    # Sums of at most 36 signs are exact in either type.
    signs = sample_sign(tf.cast(IMAGES, dtype))
    expected = tf.nn.conv2d(tf.cast(signs, tf.float32), code, 1, "SAME")
    np.testing.assert_array_equal(tf.cast(outputs, tf.float32), expected)


@POLICIES
def test_mixed_precision_of_plain_larq_layers(dtype):
    """Keras rounds their kernel before Larq sees it; the code is that of the rounded kernel."""
    tf.keras.mixed_precision.set_global_policy(f"mixed_{dtype}")
    layer = lq.layers.QuantConv2D(6, 3, kernel_quantizer="siman", use_bias=False)
    image = tf.cast(np.eye(36).reshape(36, 3, 3, 4), dtype)
    # One image per weight reads the code out.
    code = tf.cast(layer(image), tf.float32)
    rounded = tf.cast(tf.cast(tf.convert_to_tensor(layer.kernel), dtype), tf.float32)
    np.testing.assert_array_equal(tf.reshape(code, rounded.shape), magnitude_code(rounded))


@POLICIES
def test_mixed_precision_fit(dtype):
    tf.keras.mixed_precision.set_global_policy(f"mixed_{dtype}")
    model = compiled(small_model(percent=10.0))
    before = model.layers[0].kernel.numpy()
    assert np.isfinite(fit(model, epochs=2)).all()
    after = model.layers[0].kernel.numpy()
    assert np.isfinite(after).all()
    assert after.dtype == np.float32
    assert (after != before).any()


# --- several devices -------------------------------------------------------------------------


def test_mirrored_strategy():
    results = []
    for strategy in (
        make_strategy("single"),
        make_strategy("mirrored"),
    ):
        tf.keras.utils.set_random_seed(1)
        with strategy.scope():
            # No BatchNorm: replicas would take the statistics of their own images.
            layers = [layer for layer in small_model().layers if "_b" not in layer.name]
            model = compiled(tf.keras.Sequential([tf.keras.Input(SHAPE), *layers]))
        losses = fit(model, callbacks=[ClipAnnealing(15.0)])
        results.append((losses, model.get_weights()))
    assert strategy.num_replicas_in_sync == 2
    (losses, weights), (mirrored_losses, mirrored_weights) = results
    np.testing.assert_allclose(mirrored_losses, losses, rtol=1e-4)
    for actual, expected in zip(mirrored_weights, weights, strict=True):
        np.testing.assert_allclose(actual, expected, atol=1e-4)
