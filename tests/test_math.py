"""Pure arithmetic against numpy in float64."""

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given
from hypothesis import strategies as st

from siman_larq import math as sm
from siman_larq import order_statistics
from siman_larq.order_statistics import kth_smallest, kth_smallest_overall

LEVELS = [(0.0, 1.0), (-1.0, 1.0)]
LARGE = order_statistics._LARGE
SEEDS = st.integers(0, 2**16)


def normal(seed, *shape):
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def code(kernel, *args):
    return sm.magnitude_code(tf.constant(kernel), *args).numpy()


def by_filter(kernel):
    return kernel.reshape(-1, kernel.shape[-1])


# --- order statistics ------------------------------------------------------------------------

LAYOUTS = {
    "random": lambda n: np.abs(normal(0, n)),
    "tied": lambda n: np.random.default_rng(1).integers(0, 4, n).astype(np.float32),
    "constant": lambda n: np.full(n, 0.5, np.float32),
    "zeros": lambda n: np.zeros(n, np.float32),
    "clamped": lambda n: np.clip(np.abs(normal(2, n)), 0.2, 1.5),
    "huge range": lambda n: 10.0 ** np.random.default_rng(3).uniform(-37, 38, n).astype(np.float32),
    "sorted": lambda n: np.arange(n, dtype=np.float32),
}


@pytest.mark.parametrize("jit", [False, True])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_kth_smallest(layout, jit):
    x = LAYOUTS[layout](60).reshape(4, 15)
    select = tf.function(kth_smallest, jit_compile=jit)
    for k in (1, 7, 15):
        np.testing.assert_array_equal(select(tf.constant(x), k), np.sort(x, 1)[:, k - 1])


@pytest.mark.parametrize("size", [2, 3, 1000, LARGE - 1, LARGE, 3 * LARGE + 1])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_kth_smallest_overall(layout, size):
    x = LAYOUTS[layout](size)
    ordered = np.sort(x)
    select = tf.function(kth_smallest_overall)
    for k in {1, 2, size // 7 + 1, size // 2, size - 2, size - 1} & set(range(1, size)):
        np.testing.assert_array_equal(
            select(tf.constant(x), tf.constant(k)), ordered[k - 1 : k + 1]
        )


@pytest.mark.parametrize("size", [1000, 2 * LARGE])
def test_kth_smallest_overall_with_xla(size):
    x = LAYOUTS["clamped"](size)
    select = tf.function(kth_smallest_overall, jit_compile=True)
    for k in (1, size // 2, size - 1):
        actual = select(tf.constant(x), tf.constant(k))
        np.testing.assert_array_equal(actual, np.sort(x)[k - 1 : k + 1])


@pytest.mark.parametrize("sampled", [0.0, 1.0, 100.0])
def test_a_sample_that_errs_is_not_trusted(sampled):
    """Every element that the stride visits misleads about the others."""
    x = np.random.default_rng(0).uniform(1, 2, 4 * LARGE).astype(np.float32)
    x[:: (x.size // order_statistics._SAMPLE) | 1] = sampled
    ordered = np.sort(x)
    for k in (1, 1000, x.size // 2, x.size - 1):
        actual = kth_smallest_overall(tf.constant(x), tf.constant(k))
        np.testing.assert_array_equal(actual, ordered[k - 1 : k + 1])


# --- clamp -----------------------------------------------------------------------------------


def clamped(kernel, percent):
    centred = kernel.astype(np.float64)
    centred = centred - centred.mean(tuple(range(kernel.ndim - 1)), keepdims=True)
    magnitudes = np.abs(centred)
    low, high = np.percentile(magnitudes, [percent, 100 - percent])
    return np.sign(centred) * np.clip(magnitudes, low, high)


@pytest.mark.parametrize(
    "shape", [(1, 1), (5,), (2, 1), (3, 3, 2, 4), (3, 3, 64, 128), (3, 3, 128, 256)]
)
@pytest.mark.parametrize("percent", [0.1, 7.5, 15.0, 49.9])
def test_clamp(shape, percent):
    kernel = normal(0, *shape) + 0.3
    actual = sm.clamp_magnitudes(tf.constant(kernel), percent)
    np.testing.assert_allclose(actual, clamped(kernel, percent), atol=2e-6)


@pytest.mark.slow
def test_clamp_of_the_largest_kernel():
    kernel = normal(0, 3, 3, 512, 512)
    actual = sm.clamp_magnitudes(tf.constant(kernel), 15.0)
    np.testing.assert_allclose(actual, clamped(kernel, 15.0), atol=2e-6)


def test_clamp_of_0_percent_takes_the_mean_off():
    kernel = normal(0, 3, 3, 2, 4)
    expected = kernel - kernel.mean((0, 1, 2))
    np.testing.assert_allclose(sm.clamp_magnitudes(tf.constant(kernel), 0.0), expected, atol=1e-6)


def test_clamp_leaves_constant_filters_at_0():
    np.testing.assert_array_equal(sm.clamp_magnitudes(tf.ones([3, 3, 2, 4]), 15.0), 0)


# --- code ------------------------------------------------------------------------------------


@given(SEEDS, st.lists(st.integers(1, 4), min_size=0, max_size=4), st.integers(1, 5))
def test_number_of_ones(seed, window, filters):
    kernel = normal(seed, *window, filters)
    n = int(np.prod(window))
    for threshold, fraction in (("median", 0.5), (0.25, 0.25), (0.9, 0.9)):
        coded = code(kernel, (0.0, 1.0), threshold)
        assert coded.shape == kernel.shape
        expected = min(max(int(np.floor(fraction * n + 1e-6)), 1), n - 1)
        assert sm.ones_per_filter(n, threshold) == expected
        np.testing.assert_array_equal(by_filter(coded).sum(0), expected)


@pytest.mark.parametrize(
    ("n", "threshold", "ones"),
    [
        (100, 0.29, 29),
        (10, 0.01, 1),
        (10, 0.99, 9),
        (9, "median", 4),
        (8, "median", 4),
        (1, 0.5, 0),
    ],
)
def test_ones_per_filter(n, threshold, ones):
    assert sm.ones_per_filter(n, threshold) == ones


def test_code_by_hand():
    kernel = np.array([[-4, 1, 2, 1], [1, 1, 1, 1], [3, 0, 0, -3]], np.float32).T
    expected = np.array([[1, 0, 1, 0], [0, 0, 0, 0], [1, 0, 0, 1]]).T
    np.testing.assert_array_equal(code(kernel), expected)
    np.testing.assert_array_equal(code(kernel, (-1.0, 1.0)), 2 * expected - 1)


@given(SEEDS, st.integers(-20, 20))
def test_scale_does_not_matter(seed, exponent):
    kernel = normal(seed, 3, 3, 2, 4)
    for threshold in ("median", "angle", 0.3):
        coded = code(kernel, (0.0, 1.0), threshold)
        # A power of two is exact, and so is the sign.
        np.testing.assert_array_equal(
            code(kernel * np.float32(2.0**exponent), (0.0, 1.0), threshold), coded
        )
        np.testing.assert_array_equal(code(-kernel, (0.0, 1.0), threshold), coded)


@given(SEEDS, st.floats(1e-3, 1e3))
def test_scale_and_offset_without_near_ties(seed, scale):
    rng = np.random.default_rng(seed)
    # Magnitudes about 0 in even steps; the pairs keep the mean at 0.
    magnitudes = np.arange(1, 11) + rng.uniform(-0.2, 0.2, 10)
    weights = rng.permutation(np.concatenate([magnitudes, -magnitudes - 0.05]))
    weights -= weights.mean()
    coded = code(weights.astype(np.float32)[:, np.newaxis])
    moved = (weights * scale + 0.5 * scale).astype(np.float32)[:, np.newaxis]
    np.testing.assert_array_equal(code(moved), coded)


@given(SEEDS)
def test_equivariance(seed):
    rng = np.random.default_rng(seed)
    # Quarters add up exactly in any order, so means do not depend on it.
    kernel = rng.integers(-400, 400, (3, 3, 2, 4)).astype(np.float32) / 4
    for threshold in ("median", "angle", 0.3):
        coded = code(kernel, (0.0, 1.0), threshold)
        filters = rng.permutation(4)
        np.testing.assert_array_equal(
            code(kernel[..., filters], (0.0, 1.0), threshold), coded[..., filters]
        )
        np.testing.assert_array_equal(
            code(kernel[::-1, ::-1], (0.0, 1.0), threshold), coded[::-1, ::-1]
        )
        weights = rng.permutation(18)
        shuffled = code(by_filter(kernel)[weights], (0.0, 1.0), threshold)
        np.testing.assert_array_equal(shuffled, by_filter(coded)[weights])


@pytest.mark.parametrize("levels", LEVELS)
@pytest.mark.parametrize("threshold", ["median", "angle", 0.3])
def test_codes_stay(levels, threshold):
    coded = code(normal(0, 3, 3, 2, 4), levels, threshold)
    np.testing.assert_array_equal(code(coded, levels, threshold), coded)
    # Codes that this threshold would not give stay too.
    for value in levels:
        filled = np.full((3, 3, 2, 4), value, np.float32)
        np.testing.assert_array_equal(code(filled, levels, threshold), filled)


@pytest.mark.parametrize("dtype", [tf.float32, tf.bfloat16, tf.float16])
@pytest.mark.parametrize("levels", LEVELS)
def test_dtype_and_levels(dtype, levels):
    coded = sm.magnitude_code(tf.cast(normal(0, 3, 3, 2, 4), dtype), levels)
    assert coded.dtype == dtype
    assert set(coded.numpy().astype(np.float64).ravel()) == set(levels)


@given(SEEDS, st.integers(2, 40))
def test_angle_is_the_best_of_all_counts(seed, n):
    kernel = normal(seed, n, 3)
    centred = kernel.astype(np.float64) - kernel.mean(0, dtype=np.float64)
    sums = np.cumsum(-np.sort(-np.abs(centred), axis=0), axis=0)
    cosines = sums / np.sqrt(np.arange(1, n + 1))[:, np.newaxis]
    coded = code(kernel, (0.0, 1.0), "angle").astype(np.float64)
    actual = (np.abs(centred) * coded).sum(0) / np.sqrt(coded.sum(0))
    np.testing.assert_allclose(actual, cosines.max(0), rtol=1e-6)


def test_angle_of_a_constant_filter_has_no_ones():
    np.testing.assert_array_equal(
        code(np.full((3, 3, 2, 1), 0.5, np.float32), (0.0, 1.0), "angle"), 0
    )


@pytest.mark.parametrize(
    ("distribution", "fraction", "cosine", "cosine_at_half"),
    [("laplace", np.exp(-1), 0.8578, 0.8466), ("normal", 0.5405, 0.8999, 0.8988)],
)
def test_closed_forms(distribution, fraction, cosine, cosine_at_half):
    kernel = getattr(np.random.default_rng(0), distribution)(size=(400_000, 1)).astype(np.float32)
    magnitudes = np.abs(kernel - kernel.mean())
    for threshold, expected in (("angle", cosine), ("median", cosine_at_half)):
        coded = code(kernel, (0.0, 1.0), threshold)
        actual = (magnitudes * coded).sum() / np.linalg.norm(magnitudes) / np.sqrt(coded.sum())
        assert actual == pytest.approx(expected, abs=1e-3)
        if threshold == "angle":
            # cos is flat about its maximum, so the place scatters more than the value.
            assert coded.mean() == pytest.approx(fraction, abs=0.01)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("threshold", ["median", "angle"])
def test_bad_weights_spoil_their_filter_alone(bad, threshold):
    kernel = normal(0, 3, 3, 2, 4)
    expected = code(kernel, (-1.0, 1.0), threshold)
    kernel[1, 1, 0, 2] = bad
    coded = code(kernel, (-1.0, 1.0), threshold)
    assert np.isnan(coded[..., 2]).all()
    others = [0, 1, 3]
    np.testing.assert_array_equal(coded[..., others], expected[..., others])


# --- gradients -------------------------------------------------------------------------------


def standardisation_gradient(upstream, x, axes):
    """Of (x - mean) / sqrt(var + 1e-5), written out in float64."""
    count = np.prod([x.shape[axis] for axis in axes])
    centred = x - x.mean(axes, keepdims=True)
    deviation = np.sqrt((centred**2).sum(axes, keepdims=True) / max(count - 1, 1) + 1e-5)
    along = (upstream * centred).sum(axes, keepdims=True) / max(count - 1, 1)
    gradient = upstream / deviation - centred * along / deviation**3
    return gradient - gradient.mean(axes, keepdims=True)


def gradient_of(function, x, upstream):
    x = tf.constant(x)
    with tf.GradientTape() as tape:
        tape.watch(x)
        outputs = function(x)
    return tape.gradient(outputs, x, tf.constant(upstream)).numpy()


@given(SEEDS, st.sampled_from(LEVELS), st.sampled_from(["median", "angle", 0.3]))
def test_gradient_of_the_code(seed, levels, threshold):
    kernel, upstream = normal(seed, 3, 3, 2, 4), normal(seed + 1, 3, 3, 2, 4)
    actual = gradient_of(lambda x: sm.magnitude_code(x, levels, threshold), kernel, upstream)
    exact = kernel.astype(np.float64)
    signs = np.sign(exact - exact.mean((0, 1, 2)))
    expected = standardisation_gradient(upstream * signs, exact, (0, 1, 2))
    np.testing.assert_allclose(actual, expected, atol=1e-5)
    np.testing.assert_allclose(actual.sum((0, 1, 2)), 0, atol=1e-4)


@pytest.mark.parametrize("shape", [(4, 10), (4, 5, 3), (4, 6, 6, 3), (2, 1)])
@pytest.mark.parametrize("zero", [0, 1])
def test_sample_sign(shape, zero):
    maps, upstream = normal(0, *shape) + 0.5, normal(1, *shape)
    axes = tuple(range(1, len(shape)))
    exact = maps.astype(np.float64)
    centred = exact - exact.mean(axes, keepdims=True)
    signs = sm.sample_sign(tf.constant(maps), zero)
    np.testing.assert_array_equal(signs, np.where(centred == 0, zero, np.sign(centred)))

    actual = gradient_of(lambda x: sm.sample_sign(x, zero), maps, upstream)
    degrees = max(np.prod(shape[1:]) - 1, 1)
    deviation = np.sqrt((centred**2).sum(axes, keepdims=True) / degrees + 1e-5)
    slope = np.maximum(0, 2 - 2 * np.abs(centred / deviation))
    expected = standardisation_gradient(upstream * slope, exact, axes)
    np.testing.assert_allclose(actual, expected, atol=1e-5)


def test_sample_sign_of_constant_samples():
    maps = tf.fill([2, 4, 4, 3], 0.5)
    np.testing.assert_array_equal(sm.sample_sign(maps), 0)
    np.testing.assert_array_equal(sm.sample_sign(maps, zero=1), 1)


@pytest.mark.parametrize("dtype", [tf.bfloat16, tf.float16])
def test_sample_sign_in_16_bits(dtype):
    maps = tf.cast(normal(0, 4, 6, 6, 3), dtype)
    signs = sm.sample_sign(maps)
    assert signs.dtype == dtype
    np.testing.assert_array_equal(
        tf.cast(signs, tf.float32), sm.sample_sign(tf.cast(maps, tf.float32))
    )


@pytest.mark.parametrize("function", [sm.magnitude_code, sm.sample_sign])
def test_xla_gives_the_same(function):
    x, upstream = normal(0, 3, 3, 4, 8), normal(1, 3, 3, 4, 8)

    def both(x, upstream):
        with tf.GradientTape() as tape:
            tape.watch(x)
            outputs = function(x)
        return outputs, tape.gradient(outputs, x, upstream)

    outputs, gradient = both(tf.constant(x), tf.constant(upstream))
    compiled = tf.function(both, jit_compile=True)(tf.constant(x), tf.constant(upstream))
    np.testing.assert_array_equal(compiled[0], outputs)
    np.testing.assert_allclose(compiled[1], gradient, atol=1e-5)
