"""Statistics of codes: closed forms, all codes by brute force, SciPy."""

import itertools
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy import stats
from scipy.optimize import minimize_scalar

from siman_larq.analysis import excess_kurtosis, fit
from siman_larq.analysis import statistics as s
from siman_larq.math import magnitude_code

FOLDER = Path(s.__file__).parent


def quantiles(distribution, n=1_000_000):
    """A filter of exactly this distribution, without chance."""
    return distribution.ppf((np.arange(n) + 0.5) / n)[:, np.newaxis]


LAPLACE, GAUSS, UNIFORM = map(quantiles, (stats.laplace, stats.norm, stats.uniform(-1, 2)))


def gauss_cosine(threshold):
    """Of a code with ones above it, for a Gaussian of deviation 1."""
    return 2 * stats.norm.pdf(threshold) / np.sqrt(2 * stats.norm.sf(threshold))


GAUSS_BEST = minimize_scalar(lambda t: -gauss_cosine(t), bounds=(0, 2)).x
FORMS = {
    "laplace": (LAPLACE, np.exp(-1), np.sqrt(2 / np.e), (1 + np.log(2)) / 2, np.sqrt(1 / 2)),
    "gauss": (
        GAUSS,
        2 * stats.norm.sf(GAUSS_BEST),
        gauss_cosine(GAUSS_BEST),
        gauss_cosine(stats.norm.ppf(0.75)),
        np.sqrt(2 / np.pi),
    ),
    "uniform": (UNIFORM, 2 / 3, np.sqrt(8 / 9), np.sqrt(27 / 32), np.sqrt(3 / 4)),
}
# As science knows them: ones, bits, degrees.
KNOWN = {"laplace": (0.3679, 0.949, 30.93, 32.16), "gauss": (0.5405, 0.995, 25.85, 26.0)}


@pytest.mark.parametrize("name", FORMS)
def test_closed_forms(name):
    weights, fraction, *cosines = FORMS[name]
    best, half = s.optimal_code(weights), s.median_code(weights)
    assert s.share_of_ones(half) == 0.5
    assert s.best_fraction(weights) == pytest.approx(fraction, abs=1e-3)
    angles = (s.angle_to_code(weights, best), s.angle_to_code(weights, half))
    found = np.concatenate([*angles, s.angle_to_sign(weights)])
    np.testing.assert_allclose(found, np.degrees(np.arccos(cosines)), atol=1e-3)
    if name in KNOWN:
        bits = s.entropy(s.share_of_ones(best))
        figures = np.array([s.best_fraction(weights), bits, *angles])[:, 0]
        np.testing.assert_allclose(figures[:2], KNOWN[name][:2], atol=1e-3)
        np.testing.assert_allclose(figures[2:], KNOWN[name][2:], atol=5e-3)  # they are rounded
    assert s.sign_correlation(weights, half) == pytest.approx(0, abs=1e-3)
    # Against w itself the magnitude code stands at a right angle.
    cosine = np.sum(weights * best) / np.linalg.norm(weights) / np.sqrt(best.sum())
    assert np.degrees(np.arccos(cosine)) == pytest.approx(90, abs=1e-3)


def test_the_curve_has_its_top_at_the_best_fraction():
    curve = s.angle_curve(LAPLACE)[:, 0]
    assert (np.argmax(curve) + 1) / len(curve) == s.best_fraction(LAPLACE)
    assert np.degrees(np.arccos(curve.max())) == pytest.approx(30.93, abs=5e-3)
    assert np.degrees(np.arccos(curve[len(curve) // 2 - 1])) == pytest.approx(32.16, abs=5e-3)


# Ties and zeros from small integers, tails from powers.
ELEMENTS = st.one_of(
    st.integers(-3, 3).map(float),
    st.floats(-4, 4, width=32),
    st.builds(lambda sign, power: sign * 10.0**power, st.sampled_from([-1, 1]), st.integers(-6, 6)),
)
FILTERS = st.integers(2, 14).flatmap(
    lambda n: hnp.arrays(np.float64, (n, 4), elements=ELEMENTS, fill=st.nothing())
)


@given(FILTERS)
def test_no_other_code_is_nearer(weights):
    n = len(weights)
    sizes = s.magnitudes(weights)
    every = np.array(list(itertools.product([0, 1], repeat=n)), np.float64)[1:]
    reached = (every @ sizes / np.sqrt(every.sum(axis=1, keepdims=True))).max(axis=0)
    from_math = magnitude_code(tf.constant(weights), threshold="angle").numpy() > 0
    for code in (s.optimal_code(weights), from_math):
        ones = np.maximum(code.sum(axis=0), 1)
        np.testing.assert_allclose((sizes * code).sum(axis=0) / np.sqrt(ones), reached, rtol=1e-9)
    lengths = np.linalg.norm(sizes, axis=0)
    curve = s.angle_curve(weights).max(axis=0)
    there = lengths > 0
    np.testing.assert_allclose(curve[there], reached[there] / lengths[there], rtol=1e-9)


@given(hnp.arrays(np.int64, st.tuples(st.integers(1, 20), st.just(4)), elements=st.integers(-5, 5)))
def test_codes_are_those_of_the_quantizer(half):
    # Of whole numbers with a mean of 0, so that no rounding parts what ties.
    weights = np.concatenate([half, -half]) * 2.0 ** np.array([-20, 0, 3, 30])
    if np.isin(weights, (0, 1)).all():
        return  # It is a code already.
    for threshold, code in (("median", s.median_code), ("angle", s.optimal_code)):
        expected = magnitude_code(tf.constant(weights), threshold=threshold).numpy() > 0
        np.testing.assert_array_equal(code(weights), expected)


@given(FILTERS, st.floats(0.1, 10))
def test_properties(weights, scale):
    code = s.median_code(weights)
    share = s.share_of_ones(code)
    bits = s.entropy(share)
    assert ((bits >= 0) & (bits <= 1)).all()
    np.testing.assert_allclose(bits, s.entropy(1 - share), atol=1e-12)
    angles = s.angle_to_code(weights, code)
    best = s.angle_to_code(weights, s.optimal_code(weights))
    there = ~np.isnan(angles)
    assert (best[there] <= angles[there] + 1e-6).all()
    assert ((angles[there] >= 0) & (angles[there] <= 90)).all()
    np.testing.assert_allclose(
        s.angle_to_sign(scale * weights), s.angle_to_sign(weights), atol=1e-4
    )
    correlation = s.sign_correlation(weights, code)
    assert (np.abs(correlation[~np.isnan(correlation)]) <= 1 + 1e-12).all()


def test_entropy_at_the_ends_and_filters_of_equal_weights():
    np.testing.assert_allclose(s.entropy([0, 0.5, 1, 0.25]), [0, 1, 0, 0.8112781], atol=1e-7)
    weights = np.full((9, 2), 0.5)
    code = s.optimal_code(weights)
    assert not code.any()
    for figure in (s.angle_to_code(weights, code), s.sign_correlation(weights, code)):
        assert np.isnan(figure).all()
    assert np.isnan(s.angle_to_sign(0 * weights)).all()
    assert np.isnan(fit(weights).beta).all()
    assert np.isnan(excess_kurtosis(weights)).all()
    assert s.flips(code, ~code).tolist() == [1, 1]
    code[0, 0] = True
    assert s.flips(code, s.optimal_code(weights)).tolist() == [1 / 9, 0]


def test_a_code_that_splits_by_sign():
    weights = GAUSS[:1000]
    assert s.sign_correlation(np.array([[-1.0], [2], [-3], [4]]), [[0], [1], [0], [1]]) == 1
    assert s.sign_correlation(np.array([[-1.0], [2], [-3], [4]]), [[1], [0], [1], [0]]) == -1
    assert np.isnan(s.sign_correlation(weights, s.median_code(weights)))  # all are negative


class TestFits:
    @pytest.mark.parametrize(
        ("weights", "beta", "kurtosis", "gap"),
        [
            # Differences of entropy: 1 + ln 2 and (1 + ln 2 pi) / 2, each at its own deviation.
            (LAPLACE, 1, 3, 0.5 * np.log(4 * np.pi) + 0.5 - np.log(2) - 1),
            (GAUSS, 2, 0, 0.5 * np.log(2 * np.pi) + 0.5 - 1 - np.log(2 * np.sqrt(2 / np.pi))),
        ],
    )
    def test_closed_forms(self, weights, beta, kurtosis, gap):
        fits = fit(weights)
        assert fits.beta == pytest.approx(beta, abs=1e-3)
        assert fits.gap == pytest.approx(gap, abs=1e-3)
        assert excess_kurtosis(weights) == pytest.approx(kurtosis, abs=1e-2)
        name = "laplace" if beta == 1 else "norm"
        assert fits.distance(weights, name) < 1e-4
        assert fits.distance(weights, "gennorm") < 1e-4

    @pytest.mark.parametrize("beta", [0.5, 1.0, 1.5, 2.0, 6.0])
    def test_as_scipy_fits(self, beta):
        weights = stats.gennorm(beta, loc=0.1, scale=0.3).rvs((288, 2), random_state=0)
        fits = fit(weights)
        for index, column in enumerate(weights.T):
            found = stats.gennorm.fit(column, floc=column.mean())
            ours = (fits.beta[index], fits.loc["gennorm"][index], fits.scale["gennorm"][index])
            np.testing.assert_allclose(ours, found, rtol=1e-3)
            for name in ("laplace", "norm"):
                found = getattr(stats, name).fit(column)
                ours = (fits.loc[name][index], fits.scale[name][index])
                np.testing.assert_allclose(ours, found, rtol=1e-6)
            for name in ("laplace", "norm", "gennorm"):
                np.testing.assert_allclose(
                    fits.log_likelihood[name][index],
                    fits.frozen(name).logpdf(weights)[:, index].mean(),
                    rtol=1e-9,
                )
                args = (fits.beta[index],) if name == "gennorm" else ()
                args += (fits.loc[name][index], fits.scale[name][index])
                expected = stats.kstest(column, name, args).statistic
                assert fits.distance(weights, name)[index] == pytest.approx(expected)

    def test_144_weights_tell_laplace_from_gauss(self):
        for distribution, positive in ((stats.laplace, True), (stats.norm, False)):
            weights = distribution.rvs(size=(144, 500), random_state=0)
            assert np.mean((fit(weights).gap > 0) == positive) >= 0.97

    def test_two_humps_of_unequal_size_are_no_peak(self):
        rng = np.random.default_rng(0)
        weights = np.where(rng.random((144, 20)) < 0.45, -1, 1) * rng.uniform(0.98, 1, (144, 20))
        assert fit(weights).beta.min() > 10
        assert excess_kurtosis(weights).max() < -1.5

    @pytest.mark.parametrize("scale", [1e-30, 1e30])
    def test_scale_changes_nothing_but_the_scale(self, scale):
        weights = stats.norm.rvs(size=(144, 3), random_state=0)
        fits, scaled = fit(weights), fit(scale * weights)
        np.testing.assert_allclose(scaled.beta, fits.beta, rtol=1e-4)
        np.testing.assert_allclose(scaled.gap, fits.gap, atol=1e-9)


class TestActivations:
    def test_balance(self):
        activations = np.array([[1, -1, 0], [1, 1, 1]])
        assert s.balance(activations[:, np.newaxis]).tolist() == [1, 0.5, 0.5]

    def test_margins(self):
        activations = np.array([[[1.0], [3.0]], [[5.0], [5.0]], [[100.0], [100.00001]]])
        margins, within = s.margins(activations)
        assert margins[0].ravel().tolist() == [1, 1]
        assert margins[1].ravel().tolist() == [0, 0]
        # Half of 1e-5 is less than a rounding of 100.
        assert within.ravel().tolist() == [False, False, True, True, True, True]
        margins, within = s.margins(activations, centre=0)
        assert margins[0].ravel().tolist() == [1, 3]
        assert np.isinf(margins[1]).all()
        assert not within.any()

    def test_common_share(self):
        rng = np.random.default_rng(0)
        own, common = rng.normal(size=(20_000, 8)), rng.normal(size=(20_000, 1))
        assert s.common_share(own) == pytest.approx(1 / 8, abs=0.01)
        assert s.common_share(common + np.arange(8)) == pytest.approx(1)
        assert s.common_share(own + common) == pytest.approx((1 + 1 / 8) / 2, abs=0.02)
        assert s.common_share(own - own.mean(axis=1, keepdims=True)) == pytest.approx(0, abs=1e-9)
        assert np.isnan(s.common_share(np.ones((5, 3))))


def test_no_tensorflow():
    """The files of statistics and fits load by themselves."""
    code = f"""
import sys
from importlib.machinery import SourceFileLoader
sys.modules["tensorflow"] = sys.modules["siman_larq"] = None
for name in ("statistics", "fits"):
    SourceFileLoader("own_" + name, {str(FOLDER)!r} + "/" + name + ".py").load_module()
"""
    subprocess.run([sys.executable, "-c", code], check=True)
