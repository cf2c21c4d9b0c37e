"""A study: a claim, the test that decides it, and the runs, written before any of them is made."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from siman_larq.studies.combination import JOINT, Combination, combine
from siman_larq.studies.rows import Rows, by_run, mean_accuracy
from siman_larq.studies.tables import Arm, Choice, Finals, Test
from siman_larq.training.recipe import Recipe

__all__ = ["PHASES", "PlannedRun", "Study", "as_text", "choose"]

PHASES = ("choose", "main", "combine", "final")


class PlannedRun(NamedTuple):
    """A training of a study, with what its rows in epochs.csv begin with.

    # Attributes
        phase: One of `PHASES`.
        arm: Name of the arm; of several that are put together their names with `+` between.
        seed: Seed of the recipe.
        setting: Value of the chosen hyper-parameter, or empty.
        recipe: What to train.
    """

    phase: str
    arm: str
    seed: int
    setting: str
    recipe: Recipe


@dataclass(frozen=True)
class Study:
    """What a study's TOML file says.

    # Attributes
        path: The file; a study's name is that of its file.
        title: Its heading.
        claim: What is claimed.
        test: Which arms are compared, and what decides.
        recipe: Fields of `Recipe` that all arms share.
        seeds: Seeds of every arm.
        arms: What is compared.
        tests: What decides, for the program.
        reference: The arm that every other one is held against.
        choice: The hyper-parameter that is chosen first, if any.
        finals: The longer runs, if any.
        combine: What finals and tests call the arms that gain together, by `combine`; none are put
            together if it is empty.
    """

    path: Path
    title: str
    claim: str
    test: str
    recipe: Mapping[str, Any]
    seeds: tuple[int, ...]
    arms: tuple[Arm, ...]
    tests: tuple[Test, ...]
    reference: str
    choice: Choice | None = None
    finals: Finals | None = None
    combine: str = ""

    @property
    def name(self) -> str:
        """The file's name."""
        return self.path.stem

    @property
    def results(self) -> Path:
        """Folder of what is kept of the runs."""
        return self.path.parent / "results" / self.name

    @property
    def teachers(self) -> set[str]:
        """The arms from which others learn."""
        return {arm.settings["teacher"] for arm in self.arms if "teacher" in arm.settings}

    def arm(self, name: str) -> Arm:
        """The arm of a name, or those of several names together."""
        by_name = {arm.name: arm.settings for arm in self.arms}
        parts = (by_name[part] for part in name.split(JOINT))
        return Arm(name, {key: value for part in parts for key, value in part.items()})

    def recipe_of(self, arm: str, seed: int = 0, **settings: Any) -> Recipe:
        """The recipe of an arm, with some settings put in place of its own."""
        given: dict[str, Any] = {**self.recipe, **self.arm(arm).settings, **settings}
        # In the file a list; a recipe is compared with what was read from JSON.
        given |= {name: tuple(v) for name, v in given.items() if isinstance(v, list)}
        return Recipe(seed=seed, **given)

    def runs(self, rows: Rows = (), is_forecast: bool = False) -> list[PlannedRun]:
        """The runs that are known by now, in the order in which they are to be made.

        # Arguments
            rows: Rows of epochs.csv, from which the choice is made. Runs of an arm are known once
                all its trials have ended, finals once those of all that might take part have.
            is_forecast: Whether such runs are given anyhow, as if the first value had been chosen,
                with an empty `setting`, and as if all arms gained together: what is to come takes
                about as long.

        # Returns
            The runs of the choice, of the arms, of arms together and of the finals.
        """
        chosen = choose(self, rows)
        if is_forecast and self.choice:
            guess = ("", self.choice.values[0], 0.0)
            chosen = {arm.name: chosen.get(arm.name, guess) for arm in self.arms}
        runs = self._trials()
        for name in chosen:
            runs += self._of_arm("main", name, self.seeds, {}, chosen)
        together = self.combination(rows, is_forecast)
        for name in together.trials:
            runs += self._of_arm("combine", name, self.seeds, {}, chosen)
        for name in self._with_teachers(self.finalists(chosen, together.best).values()):
            assert self.finals
            runs += self._of_arm("final", name, self.finals.seeds, self.finals.settings, chosen)
        return runs

    def combination(self, rows: Rows, is_forecast: bool = False) -> Combination:
        """The arms that gain together, by their mean accuracy on held-out images."""
        if not self.combine:
            return Combination((), "")
        found = by_run(rows)

        def score(arm: str) -> float | None:
            phase = "combine" if JOINT in arm else "main"
            runs = [found.get((phase, arm, seed, ""), []) for seed in self.seeds]
            return mean_accuracy(runs, self.recipe_of(arm).epochs)

        def fits(arm: str) -> bool:
            try:
                self.recipe_of(arm)
            except ValueError:  # One excludes another.
                return False
            return True

        # What only teaches is no lever.
        teachers = self.teachers - {self.reference}
        levers = {arm.name: arm.settings for arm in self.arms if arm.name not in teachers}
        return combine(levers, self.reference, score, fits, is_forecast)

    def teacher_of(self, run: PlannedRun) -> PlannedRun | None:
        """The run that teaches another: of its teacher's arm, with its own budget and seed."""
        if run.recipe.teacher is None:
            return None
        is_final = run.phase == "final"
        settings = self.finals.settings if self.finals and is_final else {}
        phase = "final" if is_final else "main"
        (teacher,) = self._of_arm(phase, run.recipe.teacher, [run.seed], settings, {})
        return teacher

    def finalists(self, chosen: "Chosen", together: str) -> dict[str, str]:
        """The arms of the finals that are known, by the names that tests know them by.

        `chosen` is of `choose`, and `together` the best of `combination`.
        """
        if not self.finals:
            return {}
        if not self.finals.best_of:
            known = {name: name for name in chosen} | ({self.combine: together} if together else {})
            return {name: known[name] for name in self.finals.arms if name in known}
        groups: dict[str, list[str]] = {}
        for arm in self.arms:
            value = getattr(self.recipe_of(arm.name), self.finals.best_of)
            groups.setdefault(str(value), []).append(arm.name)
        # Ties go to the arm that is written first.
        return {
            group: max(names, key=lambda name: chosen[name][2])
            for group, names in groups.items()
            if all(name in chosen for name in names)
        }

    def _with_teachers(self, arms: Iterable[str]) -> list[str]:
        """Each arm once, and its teacher before it."""
        named = ((self.recipe_of(arm).teacher, arm) for arm in arms)
        return list(dict.fromkeys(name for pair in named for name in pair if name))

    def _trials(self) -> list[PlannedRun]:
        if not self.choice:
            return []
        return [
            PlannedRun(
                "choose",
                arm.name,
                seed,
                as_text(value),
                self.recipe_of(
                    arm.name,
                    seed,
                    held_out=self.choice.held_out,
                    test_examples=None,
                    **{self.choice.setting: value},
                ),
            )
            for arm in self.arms
            for value in self.choice.values
            for seed in self.choice.seeds
        ]

    def _of_arm(
        self,
        phase: str,
        arm: str,
        seeds: Iterable[int],
        settings: Mapping[str, Any],
        chosen: "Chosen",
    ) -> list[PlannedRun]:
        text, value, _ = chosen.get(arm, ("", None, math.nan))
        if self.choice:
            settings = {**settings, self.choice.setting: value}
        return [
            PlannedRun(phase, arm, seed, text, self.recipe_of(arm, seed, **settings))
            for seed in seeds
        ]


# By arm: the value as in epochs.csv, the value, and its accuracy on held-out images.
Chosen = dict[str, tuple[str, Any, float]]


def choose(study: Study, rows: Rows) -> Chosen:
    """The value of the study's `choice` for each arm: the best mean accuracy on held-out images.

    Of equally good values the smaller one is taken. A trial that diverged counts as accuracy 0.

    # Arguments
        study: A study.
        rows: Rows of epochs.csv.

    # Returns
        By arm the value as text, the value and its accuracy, for arms all of whose trials have
        ended; of a study without a choice all arms, with empty text.
    """
    if study.choice is None:
        return {arm.name: ("", None, math.nan) for arm in study.arms}
    found = by_run(rows)
    trials: dict[str, dict[str, list[PlannedRun]]] = {}
    for run in study._trials():
        trials.setdefault(run.arm, {}).setdefault(run.setting, []).append(run)
    chosen: Chosen = {}
    for arm, by_value in trials.items():
        scores = [
            mean_accuracy((found.get(run[:4], []) for run in own), own[0].recipe.epochs)
            for own in by_value.values()
        ]
        means = [score for score in scores if score is not None]
        if len(means) == len(scores):
            best = means.index(max(means))
            chosen[arm] = (list(by_value)[best], study.choice.values[best], means[best])
    return chosen


def as_text(value: Any) -> str:
    """A value as it stands in epochs.csv and in names of folders."""
    return f"{value:g}" if isinstance(value, float) else str(value)
