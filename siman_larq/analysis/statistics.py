r"""Statistics of codes, latent weights and activations: functions on arrays, with NumPy alone.

Weights and codes are columns of shape `(n, filters)`: \\(n\\) weights of every filter. A code is
boolean, `True` for the upper level. Two targets must be told apart. *Magnitudes* are
\\(m = |w - \bar w|\\), what the method codes; their angles are to a code \\(B \in \\{0, 1\\}\\).
The *sign* is that of the latent weight \\(w\\) as it is stored, +1 for 0 as in Larq.
"""

import numpy as np
from scipy.special import entr

__all__ = [
    "angle_curve",
    "angle_to_code",
    "angle_to_sign",
    "balance",
    "best_fraction",
    "common_share",
    "entropy",
    "flips",
    "magnitudes",
    "margins",
    "median_code",
    "optimal_code",
    "share_of_ones",
    "sign_correlation",
    "signs",
]


def magnitudes(weights: np.ndarray) -> np.ndarray:
    r"""\\(m = |w - \bar w|\\), with \\(\bar w\\) the mean of the filter.

    # Arguments
        weights: Shape `(n, filters)`.

    # Returns
        The same shape, float64.
    """
    weights = np.asarray(weights, np.float64)
    return np.abs(weights - weights.mean(axis=0))


def signs(weights: np.ndarray) -> np.ndarray:
    """Where the latent weight is not negative: the code of `ste_sign`.

    # Arguments
        weights: Shape `(n, filters)`.

    # Returns
        Booleans of the same shape.
    """
    return np.asarray(weights) >= 0


def share_of_ones(code: np.ndarray) -> np.ndarray:
    """The share of ones in the code of every filter.

    # Arguments
        code: Booleans of shape `(n, filters)`.

    # Returns
        Shape `(filters,)`.
    """
    return np.mean(np.asarray(code, bool), axis=0)


def entropy(share: np.ndarray) -> np.ndarray:
    r"""The entropy of a code with a share \\(p\\) of ones, in bits.

    \\[
    H = -p \log_2 p - (1 - p) \log_2 (1 - p)
    \\]

    # Arguments
        share: Shares in [0, 1], of any shape.

    # Returns
        The same shape; 0 where all weights have one level.
    """
    share = np.asarray(share, np.float64)
    return (entr(share) + entr(1 - share)) / np.log(2)


def median_code(weights: np.ndarray) -> np.ndarray:
    """The code with ones strictly above the lower median of magnitudes, the official one.

    # Arguments
        weights: Shape `(n, filters)`.

    # Returns
        Booleans of the same shape, as `siman_larq.math.magnitude_code` has them.
    """
    sizes = magnitudes(weights)
    n = len(sizes)
    rank = n - min(max(n // 2, 1), n - 1)
    return sizes > np.partition(sizes, rank - 1, axis=0)[rank - 1]


def optimal_code(weights: np.ndarray) -> np.ndarray:
    r"""The code at the smallest angle to the magnitudes.

    Its ones are the \\(k\\) largest, for the \\(k\\) that maximises \\(S_k / \sqrt k\\).

    # Arguments
        weights: Shape `(n, filters)`.

    # Returns
        Booleans of the same shape, as `siman_larq.math.magnitude_code` has them with
        `threshold="angle"`.
    """
    sizes = magnitudes(weights)
    descending = -np.sort(-sizes, axis=0)
    last = np.argmax(_ratios(descending), axis=0)[np.newaxis]
    return (sizes >= np.take_along_axis(descending, last, axis=0)) & (sizes > 0)


def angle_curve(weights: np.ndarray) -> np.ndarray:
    r"""The cosine of the angle between magnitudes and the code of the \\(k\\) largest, for each k.

    \\[
    \cos \theta_k = \frac{S_k}{\sqrt k \, \lVert m \rVert}
    \\]
    with \\(S_k\\) the sum of the \\(k\\) largest magnitudes.

    # Arguments
        weights: Shape `(n, filters)`.

    # Returns
        Shape `(n, filters)`, row \\(k - 1\\) for \\(k\\) ones; NaN for filters of equal weights.
    """
    sizes = magnitudes(weights)
    return _divide(_ratios(-np.sort(-sizes, axis=0)), _norm(sizes))


def best_fraction(weights: np.ndarray) -> np.ndarray:
    """The share of ones of the angle-optimal code: 1/e for a Laplacian, 0.5405 for a Gaussian.

    # Arguments
        weights: Shape `(n, filters)`.

    # Returns
        Shape `(filters,)`.
    """
    return share_of_ones(optimal_code(weights))


def angle_to_code(weights: np.ndarray, code: np.ndarray) -> np.ndarray:
    r"""The angle between magnitudes and a code \\(B \in \\{0, 1\\}\\), in degrees.

    \\[
    \theta = \arccos \frac{m \cdot B}{\lVert m \rVert \sqrt{k}}
    \\]
    for a code of \\(k\\) ones.

    # Arguments
        weights: Shape `(n, filters)`.
        code: Booleans of the same shape.

    # Returns
        Shape `(filters,)`; NaN for filters of equal weights and codes without a one.
    """
    sizes, code = magnitudes(weights), np.asarray(code, bool)
    lengths = _norm(sizes) * np.sqrt(np.count_nonzero(code, axis=0))
    return _degrees(_divide(np.sum(sizes * code, axis=0), lengths))


def angle_to_sign(weights: np.ndarray) -> np.ndarray:
    r"""The angle between latent weights and their signs \\(\\{-1, +1\\}\\), in degrees.

    \\[
    \theta = \arccos \frac{\lVert w \rVert_1}{\sqrt n \, \lVert w \rVert_2}
    \\]

    # Arguments
        weights: Shape `(n, filters)`.

    # Returns
        Shape `(filters,)`; NaN for filters of zeros.
    """
    weights = np.asarray(weights, np.float64)
    lengths = _norm(weights) * np.sqrt(len(weights))
    return _degrees(_divide(np.abs(weights).sum(axis=0), lengths))


def sign_correlation(weights: np.ndarray, code: np.ndarray) -> np.ndarray:
    """The correlation of a code with the sign of the latent weights, over a filter's weights.

    Near +1 or -1 the code has split the weights by sign, in place of by magnitude.

    # Arguments
        weights: Shape `(n, filters)`.
        code: Booleans of the same shape.

    # Returns
        Shape `(filters,)`, in [-1, 1]; NaN where code or sign is the same for all weights.
    """
    a, b = (np.asarray(x, np.float64) for x in (signs(weights), code))
    a, b = a - a.mean(axis=0), b - b.mean(axis=0)
    return _divide(np.sum(a * b, axis=0), _norm(a) * _norm(b))


def flips(before: np.ndarray, after: np.ndarray) -> np.ndarray:
    """The share of weights whose code changed, of every filter.

    # Arguments
        before: Booleans of shape `(n, filters)`.
        after: The same.

    # Returns
        Shape `(filters,)`.
    """
    return np.mean(np.asarray(before, bool) != np.asarray(after, bool), axis=0)


def balance(activations: np.ndarray) -> np.ndarray:
    """The share of +1 in every channel of binary activations; 0 and 1 are dead channels.

    # Arguments
        activations: Quantized activations, channels last: positive or not.

    # Returns
        Shape `(channels,)`.
    """
    channels = np.shape(activations)[-1]
    return np.mean(np.reshape(activations, (-1, channels)) > 0, axis=0)


def margins(
    activations: np.ndarray, centre: np.ndarray | float | None = None
) -> tuple[np.ndarray, np.ndarray]:
    r"""How far activations are from where their sign turns, in deviations of their sample.

    \\[
    \frac{|a - \bar a|}{s}
    \\]

    Those for which \\(|a - \bar a| \leq 2^{-23} \max(|\bar a|, s)\\) are within one rounding of
    float32: of them two programs that add up in another order may disagree.

    # Arguments
        activations: Shape `(samples, ..., channels)`, before their quantizer.
        centre: Where the sign turns; the mean of every sample if `None`.

    # Returns
        The margins and whether each is within a rounding, of the shape of the activations. In a
        sample of equal activations the margins are 0 where they are at the centre, else infinite.
    """
    values = np.asarray(activations, np.float64)
    axes = tuple(range(1, values.ndim))
    middle = values.mean(axis=axes, keepdims=True) if centre is None else np.float64(centre)
    deviation = values.std(axis=axes, keepdims=True)
    distance = np.abs(values - middle)
    rounding = np.finfo(np.float32).eps * np.maximum(np.abs(middle), deviation)
    empty = np.where(distance > rounding, np.inf, 0.0)
    return np.divide(distance, deviation, out=empty, where=deviation > 0), distance <= rounding


def common_share(outputs: np.ndarray) -> float:
    r"""The share of the variance of outputs that is common to all filters.

    \\[
    \frac{F \, \mathrm{Var}(\bar y)}{\sum_f \mathrm{Var}(y_f)}, \quad
    \bar y = \frac{1}{F} \sum_f y_f
    \\]

    with variances over samples and positions. 1 where all filters differ by constants alone,
    \\(1/F\\) where they are uncorrelated. Batch normalisation leaves this common mode in.

    # Arguments
        outputs: Shape `(..., filters)`.

    # Returns
        A number in [0, 1]; NaN for outputs that do not vary.
    """
    outputs = np.asarray(outputs, np.float64)
    rows = outputs.reshape(-1, outputs.shape[-1])
    own = rows.var(axis=0).sum()
    return float(_divide(rows.mean(axis=1).var() * rows.shape[1], own))


def _ratios(descending: np.ndarray) -> np.ndarray:
    """S_k / sqrt(k) of columns in descending order."""
    counts = np.arange(1, len(descending) + 1)[:, np.newaxis]
    return np.cumsum(descending, axis=0) / np.sqrt(counts)


def _norm(columns: np.ndarray) -> np.ndarray:
    return np.linalg.norm(columns, axis=0)


def _divide(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """NaN where the denominator is 0, without a warning."""
    a, b = np.broadcast_arrays(a, b)
    return np.divide(a, b, out=np.full(a.shape, np.nan), where=b != 0)


def _degrees(cosines: np.ndarray) -> np.ndarray:
    return np.degrees(np.arccos(np.clip(cosines, -1, 1)))
