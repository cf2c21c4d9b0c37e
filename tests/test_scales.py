"""Kernels of any magnitude and type: the code does not depend on the scale of a filter."""

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given
from hypothesis import strategies as st

from siman_larq import PercentileClip, SiMaNConv2D
from siman_larq import math as sm

THRESHOLDS = ("median", "angle", 0.3)
SHAPE = (3, 3, 2, 4)
# Of weights in steps of 1/64, below 8: no power of two here loses a bit, or overflows.
EXPONENTS = {"float32": (-143, 124), "float64": (-1068, 1020), "float16": (-18, 12)}
COMPILED = [False, True]


def weights(seed, *shape):
    rng = np.random.default_rng(seed)
    return np.clip(np.round(rng.normal(size=shape or SHAPE) * 64), -511, 511) / 64


def scaled(kernel, exponent, dtype="float32"):
    moved = np.ldexp(kernel, exponent).astype(dtype)
    np.testing.assert_array_equal(np.ldexp(moved.astype(np.float64), -exponent), kernel)
    return moved


def code(kernel, threshold="median", levels=(0.0, 1.0)):
    return sm.magnitude_code(tf.constant(kernel), levels, threshold).numpy().astype(np.float32)


@given(st.integers(0, 2**16), st.sampled_from(sorted(EXPONENTS)), st.data())
def test_no_power_of_two_changes_a_code(seed, dtype, data):
    kernel = weights(seed)
    exponent = data.draw(st.integers(*EXPONENTS[dtype]))
    threshold = data.draw(st.sampled_from(THRESHOLDS))
    actual = code(scaled(kernel, exponent, dtype), threshold)
    np.testing.assert_array_equal(actual, code(kernel.astype(dtype), threshold))
    assert 0 < actual.mean() < 1


@given(st.integers(0, 2**16), st.lists(st.integers(-143, 124), min_size=4, max_size=4))
def test_every_filter_has_its_own_scale(seed, exponents):
    kernel = weights(seed)
    moved = np.stack([scaled(kernel[..., i], e) for i, e in enumerate(exponents)], axis=-1)
    for threshold in THRESHOLDS:
        np.testing.assert_array_equal(
            code(moved, threshold, (-1.0, 1.0)),
            code(kernel.astype(np.float32), threshold, (-1.0, 1.0)),
        )


@pytest.mark.parametrize("jit", COMPILED)
@pytest.mark.parametrize("exponent", [-143, -127, -61, 61, 124])
def test_compiled(exponent, jit):
    kernel = weights(0)
    compiled = tf.function(lambda x: sm.magnitude_code(x), jit_compile=jit)
    actual = compiled(tf.constant(scaled(kernel, exponent)))
    np.testing.assert_array_equal(actual, code(kernel.astype(np.float32)))


@given(st.integers(0, 2**16), st.sampled_from(THRESHOLDS), st.data())
def test_anything_finite_gives_a_code_and_a_gradient(seed, threshold, data):
    rng = np.random.default_rng(seed)
    low, high = sorted(data.draw(st.tuples(st.integers(-149, 127), st.integers(-149, 127))))
    kernel = np.ldexp(rng.uniform(-1, 1, SHAPE), rng.integers(low, high + 1, SHAPE))
    kernel = tf.constant(kernel.astype(np.float32))
    with tf.GradientTape() as tape:
        tape.watch(kernel)
        coded = sm.magnitude_code(kernel, (-1.0, 1.0), threshold)
    gradient = tape.gradient(coded, kernel, tf.constant(rng.normal(size=SHAPE), tf.float32))
    assert set(np.unique(coded)) <= {-1, 1}
    assert np.isfinite(gradient).all()


@pytest.mark.parametrize("exponent", [-140, -110, -70, -59, -10, 0, 10, 59, 61, 80, 100])
def test_gradient(exponent):
    """Of the definition, with 1e-5 under the root at any scale."""
    kernel = scaled(weights(1), exponent)
    upstream = np.random.default_rng(2).normal(size=SHAPE).astype(np.float32)
    variable = tf.Variable(kernel)
    with tf.GradientTape() as tape:
        coded = sm.magnitude_code(variable)
    actual = tape.gradient(coded, variable, tf.constant(upstream))
    centred = kernel.astype(np.float64) - kernel.mean((0, 1, 2), dtype=np.float64)
    deviation = np.sqrt((centred**2).sum((0, 1, 2)) / 17 + 1e-5)
    z, towards = centred / deviation, upstream * np.sign(centred)
    expected = (towards - z * (towards * z).sum((0, 1, 2)) / 17) / deviation
    expected -= expected.mean((0, 1, 2))
    np.testing.assert_allclose(actual, expected, rtol=1e-3, atol=1e-5 * np.abs(expected).max())


@pytest.mark.parametrize("jit", COMPILED)
@pytest.mark.parametrize("percent", [0.0, 15.0])
def test_clamp(percent, jit):
    kernel = weights(3)
    clamp = tf.function(sm.clamp_magnitudes, jit_compile=jit)
    expected = clamp(tf.constant(kernel.astype(np.float32)), percent).numpy().astype(np.float64)
    for exponent in (-140, -125, -61, 61, 124):
        actual = clamp(tf.constant(scaled(kernel, exponent)), percent).numpy()
        # Subnormal numbers have steps of 2**-149.
        step = 2.0 ** (-149 - exponent)
        moved = np.ldexp(actual.astype(np.float64), -exponent)
        np.testing.assert_allclose(moved, expected, rtol=0, atol=step / 2)


def test_the_constraint_keeps_weights_finite():
    kernel = np.full(SHAPE, np.finfo(np.float32).max, np.float32)
    kernel[0, 0] *= -1
    constrained = PercentileClip(15.0)(tf.Variable(kernel)).numpy()
    assert np.isfinite(constrained).all()
    np.testing.assert_array_equal(np.sign(constrained), np.sign(kernel))


@pytest.mark.parametrize("exponent", [-120, 0, 124])
def test_alpha_starts_at_the_mean_magnitude(exponent):
    kernel = scaled(weights(4), exponent)
    layer = SiMaNConv2D(4, 3, kernel_initializer=lambda *_, **__: tf.constant(kernel))
    layer.build((None, 6, 6, 2))
    expected = np.abs(kernel.astype(np.float64)).mean((0, 1, 2))
    np.testing.assert_allclose(layer.alpha, expected, rtol=1e-6)


def test_alpha_in_float16():
    """Sums of 16-bit numbers would be infinite here."""
    tf.keras.mixed_precision.set_global_policy("float16")
    layer = SiMaNConv2D(2, 3, kernel_initializer=tf.keras.initializers.Constant(1000.0))
    layer.build((None, 6, 6, 64))
    np.testing.assert_array_equal(layer.alpha, [1000, 1000])


@pytest.mark.parametrize("levels", [(0.0, 1.0), (-1.0, 1.0)])
def test_only_levels_are_codes(levels):
    """Kernels of two values that are levels in another scale are no codes."""
    ones = np.tile(np.array([0, 0, 0, 1], np.float32)[:, np.newaxis], (1, 3))
    kernel = levels[0] + (levels[1] - levels[0]) * ones
    np.testing.assert_array_equal(code(kernel, levels=levels), kernel)
    for factor in (2.0**-140, 2.0**-100, 2.0**100):
        # About the mean the one weight is larger than the three, and two ones would tie.
        moved = (kernel.astype(np.float64) * factor).astype(np.float32)
        np.testing.assert_array_equal(
            code(moved[[0, 0, 1, 2, 3, 3]], levels=levels),
            code(kernel[[0, 0, 1, 2, 3, 3]] * 2, levels=levels),
        )
    np.testing.assert_array_equal(code(np.zeros((4, 3), np.float32), levels=levels), levels[0])
    mixed = np.concatenate([kernel, np.zeros((4, 1), np.float32)], axis=1)
    np.testing.assert_array_equal(code(mixed, levels=levels)[:, 3], levels[0])


def test_close_weights_of_float64():
    kernel = 1 + 1e-12 * weights(5)
    np.testing.assert_array_equal(code(kernel), code(weights(5)))


@pytest.mark.parametrize("dtype", ["int8", "int32", "uint8", "bool", "complex64"])
def test_kernels_are_floating_point(dtype):
    kernel = tf.cast(tf.ones(SHAPE), dtype)
    for function in (sm.magnitude_code, lambda x: sm.clamp_magnitudes(x, 5.0), sm.mean_magnitude):
        with pytest.raises(TypeError, match=rf"A kernel of type {dtype} has no magnitude code"):
            function(kernel)


@pytest.mark.parametrize("shape", [(), (3, 3, 0, 4)])
def test_kernels_have_weights(shape):
    with pytest.raises(ValueError, match="has no magnitude code; give a tensor with a static"):
        sm.magnitude_code(tf.ones(shape))


def test_axes_that_a_kernel_lacks():
    with pytest.raises(ValueError, match=r"no filters along axes \(-3,\)"):
        sm.magnitude_code(tf.ones((2, 2)), filter_axes=(-3,))


@pytest.mark.parametrize("dtype", ["uint8", "int8", "int32", "int64", "bool", "float16", "float64"])
@pytest.mark.parametrize("zero", [0, 1])
def test_signs_of_any_real_type(dtype, zero):
    activations = tf.cast([[3, 1, 0, 0], [0, 1, 1, 0], [1, 1, 1, 1]], dtype)
    signs = sm.sample_sign(activations, zero)
    assert signs.dtype == (dtype if "float" in dtype else tf.float32)
    values = activations.numpy().astype(np.float64)
    expected = np.sign(values - values.mean(1, keepdims=True))
    np.testing.assert_array_equal(signs, np.where(expected == 0, zero, expected))


def test_signs_of_other_types():
    for dtype in (tf.complex64, tf.string):
        with pytest.raises(TypeError, match=rf"Activations of type {dtype.name} have no sign"):
            sm.sample_sign(tf.zeros([2, 3], dtype))


def test_signs_about_a_mean_that_is_not_finite():
    signs = sm.sample_sign(tf.constant([[3e38, 3e38, 3e38], [1, np.inf, 2], [1, 2, 3]], tf.float32))
    assert np.isnan(signs[:2]).all()
    np.testing.assert_array_equal(signs[2], [-1, 0, 1])
