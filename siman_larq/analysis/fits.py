r"""Which distribution latent weights have: Laplace, Gauss and what lies between and beyond.

All three are fitted to every filter by maximum likelihood, and no p-value is given: with fitted
parameters that of a plain Kolmogorov-Smirnov test is wrong, and with many weights everything is
rejected. `scipy.stats.goodness_of_fit` gives an honest one for a single filter.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from scipy import stats
from scipy.optimize import elementwise
from scipy.special import digamma, gammaln

__all__ = ["MOST_BETA", "NAMES", "Fits", "excess_kurtosis", "fit"]

NAMES = ("laplace", "norm", "gennorm")
# Beyond, the likelihood hardly changes: 32 is as good as uniform.
_LEAST, MOST_BETA = 0.2, 32.0
# Columns whose powers are taken at once stay in the cache.
_AT_ONCE = 1 << 18


@dataclass(frozen=True)
class Fits:
    r"""The distributions of the weights of every filter; all arrays have the shape `(filters,)`.

    # Attributes
        loc: By name of the distribution in `scipy.stats` (`"laplace"`, `"norm"`, `"gennorm"`):
            its centre, the median for Laplace, the mean, from which the method takes magnitudes,
            for the other two. About a median within one of two humps, no width would be fitted.
        scale: Its scale.
        beta: Shape of the generalised normal distribution, within [0.2, 32]: 1 is Laplace, 2
            Gauss, and large ones uniform or two-humped. NaN for filters of equal weights.
        log_likelihood: The mean over weights of its log-density, in nats.
    """

    loc: dict[str, np.ndarray]
    scale: dict[str, np.ndarray]
    beta: np.ndarray
    log_likelihood: dict[str, np.ndarray]

    @cached_property
    def gap(self) -> np.ndarray:
        """Log-likelihood of Laplace less that of Gauss, in nats a weight; positive: Laplacian."""
        return self.log_likelihood["laplace"] - self.log_likelihood["norm"]

    def frozen(self, name: str) -> Any:
        """The distributions of all filters as one of `scipy.stats`, to broadcast against."""
        shape = (self.beta,) if name == "gennorm" else ()
        return getattr(stats, name)(*shape, loc=self.loc[name], scale=self.scale[name])

    def distance(self, weights: np.ndarray, name: str) -> np.ndarray:
        """The Kolmogorov-Smirnov distance of the weights from the distribution fitted to them.

        # Arguments
            weights: Those that were fitted, shape `(n, filters)`.
            name: `"laplace"`, `"norm"` or `"gennorm"`.

        # Returns
            Shape `(filters,)`: a statistic to compare, without a p-value.
        """
        levels = self.frozen(name).cdf(np.sort(np.asarray(weights, np.float64), axis=0))
        steps = np.arange(len(levels) + 1)[:, np.newaxis] / len(levels)
        return np.maximum(steps[1:] - levels, levels - steps[:-1]).max(axis=0)


def excess_kurtosis(weights: np.ndarray) -> np.ndarray:
    """Kurtosis less that of a Gaussian: 3 for a Laplacian, -2 for two values of equal share.

    # Arguments
        weights: Shape `(n, filters)`.

    # Returns
        Shape `(filters,)`; NaN for filters of equal weights.
    """
    weights = np.asarray(weights, np.float64)
    varies = np.ptp(weights, axis=0) > 0
    return np.where(varies, stats.kurtosis(np.where(varies, weights, _ramp(weights))), np.nan)


def fit(weights: np.ndarray) -> Fits:
    r"""Fits all three distributions to every filter.

    For the generalised normal distribution
    \\[
    p(w) = \frac{\beta}{2 \alpha \Gamma(1/\beta)} e^{-(|w - \mu| / \alpha)^\beta}
    \\]
    with \\(\mu\\) the mean, \\(\alpha\\) has a closed form and \\(\beta\\) is the root of one
    equation, sought for all filters at once.

    # Arguments
        weights: Latent weights of shape `(n, filters)`.

    # Returns
        The fits.
    """
    weights = np.asarray(weights, np.float64)
    varies = np.ptp(weights, axis=0) > 0
    # Any numbers do where there is nothing to fit.
    columns = np.where(varies, weights, _ramp(weights))
    step = max(_AT_ONCE // len(columns), 1)
    parts = [_fit(columns[:, i : i + step]) for i in range(0, columns.shape[1], step)]
    rows = np.where(varies, np.concatenate(parts, axis=1), np.nan)
    loc, scale, log_likelihood = (dict(zip(NAMES, rows[i : i + 3], strict=True)) for i in (0, 3, 6))
    return Fits(loc, scale, rows[9], log_likelihood)


def _ramp(weights: np.ndarray) -> np.ndarray:
    return np.broadcast_to(np.linspace(-1, 1, len(weights))[:, np.newaxis], weights.shape)


def _fit(columns: np.ndarray) -> np.ndarray:
    """Rows: a centre, a scale and a log-likelihood for each of `NAMES`, and beta."""
    median, mean = np.median(columns, axis=0), columns.mean(axis=0)
    spread, deviation = np.abs(columns - median).mean(axis=0), columns.std(axis=0)
    laplace = -np.log(2 * spread) - 1
    norm = -np.log(deviation) - np.log(2 * np.pi) / 2 - 0.5
    beta, scale, gennorm = _gennorm(np.abs(columns - mean))
    return np.stack([median, mean, mean, spread, deviation, scale, laplace, norm, gennorm, beta])


def _gennorm(distances: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Beta, scale and log-likelihood for distances from a given centre."""
    # Powers of numbers in [0, 1] stay in range; a distance of 0 adds nothing to any sum.
    largest = distances.max(axis=0)
    with np.errstate(divide="ignore"):
        logs = np.log(distances / largest)

    def moments(beta: np.ndarray, which: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        chosen = logs[:, which]
        powers = np.exp(beta * chosen)
        return powers.mean(axis=0), np.mean(powers * np.maximum(chosen, -1e300), axis=0)

    def slope(beta: np.ndarray, which: np.ndarray) -> np.ndarray:
        """What is 0 where the likelihood is largest, and positive below."""
        mean, mean_of_logs = moments(beta, which)
        return 1 + (digamma(1 / beta) + np.log(beta * mean)) / beta - mean_of_logs / mean

    every = np.arange(len(largest))
    least, most = (np.full(len(largest), bound) for bound in (_LEAST, MOST_BETA))
    rises, still_rises = slope(least, every) > 0, slope(most, every) > 0
    beta = np.where(rises, most, least)
    inside = np.flatnonzero(rises & ~still_rises)
    if len(inside):
        found = elementwise.find_root(
            slope, (least[inside], most[inside]), args=(inside,), tolerances={"xrtol": 1e-6}
        )
        beta[inside] = found.x
    scale = (beta * moments(beta, every)[0]) ** (1 / beta) * largest
    return beta, scale, np.log(beta / (2 * scale)) - gammaln(1 / beta) - 1 / beta
