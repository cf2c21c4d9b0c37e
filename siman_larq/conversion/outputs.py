"""Whether outputs of a model, its graph and its file are the same."""

import numpy as np

__all__ = ["are_equal", "are_rows", "largest_difference"]

# Of the largest output. Where no sign turns, outputs differ by about a thousandth of this.
_TOLERANCE = 1e-3


def are_equal(a: np.ndarray, b: np.ndarray, tolerance: float = _TOLERANCE) -> bool:
    """Whether outputs are the same where no sign was turned."""
    if a.shape != b.shape:
        return False
    if not np.issubdtype(a.dtype, np.floating):
        return bool((a == b).all())
    finite = np.isfinite(a)
    if not (finite == np.isfinite(b)).all():
        return False
    scale = np.abs(a[finite]).max(initial=0.0)
    return bool((np.abs(a[finite] - b[finite]) <= tolerance * scale + 1e-7).all())


def largest_difference(a: list[list[np.ndarray]], b: list[list[np.ndarray]]) -> float:
    """The largest difference of outputs, which are lists of them for each step."""
    return max(
        _difference(x, y) if x.shape == y.shape else np.inf
        for step_a, step_b in zip(a, b, strict=True)
        for x, y in zip(step_a, step_b, strict=True)
    )


def _difference(a: np.ndarray, b: np.ndarray) -> float:
    """The largest difference, which is infinite where one of two values alone is not finite."""
    finite = np.isfinite(a) & np.isfinite(b)
    if (np.isfinite(a) != np.isfinite(b)).any():
        return np.inf
    return float(np.abs(a[finite].astype(float) - b[finite].astype(float)).max(initial=0.0))


def are_rows(whole: np.ndarray, parts: list[np.ndarray]) -> bool:
    """Whether an output for several samples is those for each, one behind the other."""
    have_rows = all(part.ndim and part.shape[1:] == whole.shape[1:] for part in (whole, *parts))
    return have_rows and are_equal(whole, np.concatenate(parts))
