"""The tables of a study's TOML file, a record each."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

__all__ = ["Arm", "Choice", "Finals", "Test"]


@dataclass(frozen=True)
class Arm:
    """One of the things that are compared.

    # Attributes
        name: As in tables and names of run folders.
        settings: Fields of `Recipe` by which it differs from the others.
    """

    name: str
    settings: Mapping[str, Any]


@dataclass(frozen=True)
class Choice:
    """A hyper-parameter that each arm has chosen for it, on training images that are held out.

    # Attributes
        setting: A field of `Recipe`, which neither arms nor finals set.
        values: What is tried, from the smallest.
        seeds: Seeds of the trials.
        held_out: How many of the last training images are tested on in place of the test images.
    """

    setting: str
    values: tuple[Any, ...]
    seeds: tuple[int, ...]
    held_out: int


@dataclass(frozen=True)
class Finals:
    """Longer runs of some arms.

    # Attributes
        seeds: Their seeds.
        settings: Fields of `Recipe` in which they differ from the other runs; none that an arm of
            theirs sets.
        arms: Which arms.
        best_of: In place of `arms`, a field of `Recipe`: of the arms that share a value of it, the
            one with the best accuracy on held-out images takes part.
    """

    seeds: tuple[int, ...]
    settings: Mapping[str, Any]
    arms: tuple[str, ...] = ()
    best_of: str = ""


@dataclass(frozen=True)
class Test:
    """How a part of the claim is decided.

    # Attributes
        kind: `"greater"`: the mean of the differences paired by seed is above 0, by a two-sided
            t-test at 5 %, after Holm over all such tests of the phase. `"equivalent"`: it lies
            within `margin`, by two one-sided t-tests. `"peak"`: the 95 % interval of the best
            `setting`, by a quadratic fit, holds `value`. `"predicted"`: the 95 % interval of one
            more run holds `value`, a run of something else.
        says: The part of the claim.
        arm: The arm of which it is said; in finals by `best_of`, that value.
        than: The arm that it is held against.
        figure: A column of epochs.csv, of which the last epoch counts.
        phase: `"main"`, or `"final"`, which a peak has not.
        margin: In units of the figure; accuracies are between 0 and 1.
        setting: A field of `Recipe` that is a number in every arm.
        value: What the setting should be best at, or the figure of the other run.
    """

    kind: str
    says: str
    arm: str = ""
    than: str = ""
    figure: str = "val_accuracy"
    phase: str = "main"
    margin: float = 0.0
    setting: str = ""
    value: float = 0.0
