"""Which of the levers that gain alone also gain together."""

from collections.abc import Callable, Collection, Mapping
from typing import NamedTuple

__all__ = ["JOINT", "Combination", "combine"]

JOINT = "+"
"""Between the names of the arms that are put together."""


class Combination(NamedTuple):
    """What came of putting levers together, as far as it is known.

    # Attributes
        trials: The arms that had to be tried, in this order; each is the names of some with `+`
            between.
        best: The combination that is left; empty while a run is missing.
        gains: Whether it is known to be better than the reference.
    """

    trials: tuple[str, ...]
    best: str
    gains: bool = False


def combine(
    settings: Mapping[str, Collection[str]],
    reference: str,
    score: Callable[[str], float | None],
    fits: Callable[[str], bool] = lambda name: True,
    is_forecast: bool = False,
) -> Combination:
    """Puts levers together one after another, as long as each still gains.

    Levers are the arms that are better than the reference, the best one first. Each is added to
    those that were taken before it, unless one of these has set the same setting or excludes it,
    and is kept if that is better than without it. Where none is better than the reference, the best
    of them is left by itself, for the finals to say how it does.

    # Arguments
        settings: By arm the names of the settings by which it differs from the reference.
        reference: The arm that every lever is to be better than.
        score: From an arm's name its mean accuracy on held-out images; `None` while runs of it are
            missing.
        fits: Whether settings go together, from the names of their arms with `+` between.
        is_forecast: Whether what is not known is taken for a gain.

    # Returns
        A `Combination`.
    """
    alone = {name: score(name) for name in settings}
    known = {name: value for name, value in alone.items() if value is not None}
    levers = [name for name in settings if name != reference]
    if len(known) == len(settings):
        levers.sort(key=lambda name: -known[name])
        gaining = [name for name in levers if known[name] > known[reference]]
        if not gaining:
            return Combination((), next(iter(levers), reference))
        levers = gaining
    elif not is_forecast:
        return Combination((), "")
    best, reached, trials, used = reference, alone[reference], list[str](), set[str]()
    for lever in levers:
        candidate = lever if best == reference else f"{best}{JOINT}{lever}"
        if used & set(settings[lever]) or not fits(candidate):
            continue
        if best != reference:
            trials.append(candidate)
        found = score(candidate)
        if found is None and not is_forecast:
            return Combination(tuple(trials), "")
        if found is None or reached is None or found > reached:
            best, reached = candidate, found
            used |= set(settings[lever])
    return Combination(tuple(trials), best, gains=best != reference)
