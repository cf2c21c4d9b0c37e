"""Statistics of a study: small samples that are paired by seed."""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

__all__ = [
    "Difference",
    "Equivalence",
    "Mean",
    "Peak",
    "difference",
    "equivalence",
    "holm",
    "mean",
    "peak",
    "predicted",
]

_CONFIDENCE = 0.95
_SIGNIFICANT = 0.05
_NO_SPREAD = 1e-12  # but rounding


@dataclass(frozen=True)
class Mean:
    """A mean with its interval.

    # Attributes
        mean: Mean of the sample.
        deviation: Standard deviation, of n - 1.
        low: Lower end of the 95 % t-interval.
        high: Upper end.
    """

    mean: float
    deviation: float
    low: float
    high: float


@dataclass(frozen=True)
class Difference:
    """The mean of differences paired by seed.

    # Attributes
        pairs: Number of pairs.
        mean: Mean difference.
        low: Lower end of the 95 % t-interval.
        high: Upper end.
        p: Of the two-sided paired t-test; of differences that are all equal, of the sign test.
        bootstrap_low: Lower end of the 95 % bootstrap interval (BCa).
        bootstrap_high: Upper end.
    """

    pairs: int
    mean: float
    low: float
    high: float
    p: float
    bootstrap_low: float
    bootstrap_high: float


@dataclass(frozen=True)
class Equivalence:
    """Two one-sided paired t-tests; of differences that are all equal, sign tests.

    # Attributes
        mean: Mean difference.
        low: Lower end of its 90 % t-interval, which within the margin is the same as p < 0.05.
        high: Upper end.
        p: The larger of the two.
    """

    mean: float
    low: float
    high: float
    p: float


@dataclass(frozen=True)
class Peak:
    """Where a quadratic is highest.

    # Attributes
        best: Its peak; NaN if it has none.
        low: Lower end of the 95 % interval, after Fieller; minus infinity if it has none.
        high: Upper end.
        deviation: Standard deviation of what is left over, of the degrees of freedom; NaN without
            any, where the interval has no ends.
        lack_of_fit_p: Of the F-test of the quadratic against a mean of its own at each place; a
            small one says that the curve is no quadratic.
        coefficients: Of 1, x and x squared, for the mean seed.
    """

    best: float
    low: float
    high: float
    deviation: float
    lack_of_fit_p: float
    coefficients: tuple[float, float, float]


def mean(values: Sequence[float]) -> Mean:
    """The mean of a sample, with a t-interval; of one value the interval is unknown, NaN."""
    x = np.asarray(values, float)
    if len(x) < 2:
        return Mean(float(x.mean()), np.nan, np.nan, np.nan)
    deviation = float(x.std(ddof=1))
    reach = stats.t.ppf((1 + _CONFIDENCE) / 2, len(x) - 1) * deviation / np.sqrt(len(x))
    return Mean(float(x.mean()), deviation, float(x.mean() - reach), float(x.mean() + reach))


def predicted(values: Sequence[float]) -> tuple[float, float]:
    r"""The 95 % interval of one more value: \\(\bar x \pm t s \sqrt{1 + 1/n}\\).

    NaN of values without spread, which say nothing of it.
    """
    about = mean(values)
    if not about.deviation > _NO_SPREAD:
        return np.nan, np.nan
    reach = (about.high - about.mean) * np.sqrt(len(values) + 1)
    return float(about.mean - reach), float(about.mean + reach)


def difference(first: Sequence[float], second: Sequence[float]) -> Difference:
    """What the first has more than the second, in pairs.

    # Arguments
        first: Figures of one arm, by seed.
        second: Figures of the other arm, of the same seeds in the same order.

    # Returns
        A `Difference`; of one pair all but the mean is NaN.
    """
    x, y = np.asarray(first, float), np.asarray(second, float)
    about = mean(x - y)
    if not about.deviation > _NO_SPREAD:
        is_equal = abs(about.mean) < _NO_SPREAD
        p = 1.0 if is_equal else 2 * _equal_signs(len(x))
        end = about.mean if len(x) > 1 and (is_equal or p < _SIGNIFICANT) else np.nan
        return Difference(len(x), about.mean, end, end, p if len(x) > 1 else np.nan, end, end)
    low, high = _bootstrap(x - y)
    p = float(stats.ttest_rel(x, y).pvalue)
    return Difference(len(x), about.mean, about.low, about.high, p, low, high)


def _equal_signs(count: int) -> float:
    """The probability of as many equal signs, one-sided.

    Few accuracies of few images are equal by chance, and a t-test takes that for certainty.
    """
    return 0.5**count


def _bootstrap(differences: np.ndarray) -> tuple[float, float]:
    with warnings.catch_warnings():
        # Few resamples of few values can leave BCa without an answer, which is then NaN.
        warnings.simplefilter("ignore")
        interval = stats.bootstrap(
            (differences,), np.mean, confidence_level=_CONFIDENCE, random_state=0
        ).confidence_interval
    return float(interval.low), float(interval.high)


def equivalence(first: Sequence[float], second: Sequence[float], margin: float) -> Equivalence:
    """Whether two arms differ by less than a margin (TOST).

    # Arguments
        first: Figures of one arm, by seed.
        second: Figures of the other arm, of the same seeds in the same order.
        margin: The largest difference that does not matter.

    # Returns
        An `Equivalence`.
    """
    x = np.asarray(first, float) - np.asarray(second, float)
    about = mean(x)
    if not about.deviation > _NO_SPREAD:
        by_chance = _equal_signs(len(x))
        end = about.mean if by_chance < _SIGNIFICANT else np.nan
        p = by_chance if abs(about.mean) < margin else 1.0
        return Equivalence(about.mean, end, end, p if len(x) > 1 else np.nan)
    above = stats.ttest_1samp(x, -margin, alternative="greater").pvalue
    below = stats.ttest_1samp(x, margin, alternative="less").pvalue
    low, high = stats.ttest_1samp(x, 0).confidence_interval(0.9)
    return Equivalence(about.mean, float(low), float(high), float(max(above, below)))


def holm(p_values: Sequence[float]) -> list[float]:
    """p-values after Holm's correction for their number; NaN, a test to come, counts and stays."""
    p = np.asarray(p_values, float)
    adjusted = np.full(len(p), np.nan)
    highest = 0.0
    for rank, index in enumerate(np.argsort(p, kind="stable")):  # NaN last
        if not np.isnan(p[index]):
            highest = max(highest, min(1.0, (len(p) - rank) * p[index]))
            adjusted[index] = highest
    return adjusted.tolist()


def peak(x: Sequence[float], y: np.ndarray) -> Peak:
    r"""Fits a quadratic with an offset for each seed, and says where it is highest.

    \\[
    y_{sj} = a_s + b x_j + c x_j^2 + \epsilon, \quad \hat x = -b / 2c
    \\]
    The interval is Fieller's: all \\(x\\) at which the slope \\(b + 2 c x\\) is not significantly
    different from 0.

    # Arguments
        x: Values of the setting, shape `(places,)`.
        y: Figures, shape `(seeds, places)`.

    # Returns
        A `Peak`.
    """
    places, y = np.asarray(x, float), np.asarray(y, float)
    seeds = len(y)
    # Centred, for the sake of rounding; offsets of seeds are taken off with the means.
    middle = places.mean()
    u = places - middle
    columns = np.stack([u, u**2], axis=1)
    design = np.tile(columns - columns.mean(axis=0), (seeds, 1))
    target = (y - y.mean(axis=1, keepdims=True)).ravel()
    (b, c), *_ = np.linalg.lstsq(design, target, rcond=None)
    left = target - design @ (b, c)
    freedom = y.size - seeds - 2
    variance = left @ left / freedom if freedom else np.nan
    covariance = variance * np.linalg.inv(design.T @ design)
    best = -b / (2 * c) if c < 0 else np.nan
    low, high = _fieller(b, c, covariance, freedom) if freedom else (-np.inf, np.inf)
    offset = y.mean() - columns.mean(axis=0) @ (b, c)
    raw = (offset - b * middle + c * middle**2, b - 2 * c * middle, c)
    return Peak(
        float(best + middle),
        float(low + middle),
        float(high + middle),
        float(np.sqrt(variance)),
        _lack_of_fit(y, left @ left),
        (float(raw[0]), float(raw[1]), float(raw[2])),
    )


def _fieller(b: float, c: float, covariance: np.ndarray, freedom: int) -> tuple[float, float]:
    """The u at which (b + 2 c u)^2 <= t^2 var(b + 2 c u), a quadratic in u."""
    t2 = stats.t.ppf((1 + _CONFIDENCE) / 2, freedom) ** 2
    vb, vbc, vc = covariance[0, 0], covariance[0, 1], covariance[1, 1]
    quadratic = 4 * (c**2 - t2 * vc)
    if c >= 0 or quadratic <= 0:  # No peak, or none that is significant.
        return -np.inf, np.inf
    roots = np.roots([quadratic, 4 * (b * c - t2 * vbc), b**2 - t2 * vb])
    low, high = np.sort(roots.real)
    return low, high


def _lack_of_fit(y: np.ndarray, squares_left: float) -> float:
    seeds, places = y.shape
    pure = y - y.mean(axis=1, keepdims=True) - y.mean(axis=0) + y.mean()
    freedom = places - 3, (seeds - 1) * (places - 1)
    if min(freedom) < 1:
        return np.nan
    lack = max(squares_left - (pure**2).sum(), 0) / freedom[0]
    return float(stats.f.sf(lack / ((pure**2).sum() / freedom[1]), *freedom))
