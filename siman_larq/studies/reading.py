"""Reads a study's TOML file; what is wrong with it is one sentence, before anything runs."""

import math
import re
import sys
from collections.abc import Iterable
from dataclasses import fields
from pathlib import Path
from typing import Any

from siman_larq.choices import check_choice, is_number
from siman_larq.studies.forecast import steps_per_epoch
from siman_larq.studies.plan import PlannedRun, Study, as_text
from siman_larq.studies.rows import Row
from siman_larq.studies.tables import Arm, Choice, Finals, Test
from siman_larq.training.recipe import Recipe

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

__all__ = ["read"]

_SETTINGS = tuple(field.name for field in fields(Recipe) if field.name != "seed")
_KINDS = {
    "greater": ("arm", "than"),
    "equivalent": ("arm", "than", "margin"),
    "peak": ("setting", "value"),
    "predicted": ("arm", "value"),
}
_HELD_OUT = 5000
# What a choice itself decides, or what ties an arm to another.
_NOT_CHOSEN = ("held_out", "test_examples", "teacher")
# Of keys wherever they are; of recipes' settings Recipe itself knows.
_TYPES: dict[str, Any] = {
    **dict.fromkeys(("title", "claim", "test", "reference", "combine", "name", "best_of"), str),
    **dict.fromkeys(("recipe", "choose", "finals"), dict),
    **dict.fromkeys(("arms", "tests", "values"), list),
    **{field.name: field.type for field in fields(Test)},
}
_CALLED = {str: "a text", float: "a finite number", dict: "a table", list: "a list"}


def read(path: Path) -> Study:
    """Reads a study's TOML file.

    # Arguments
        path: The file.

    # Returns
        A `Study`.

    # Raises
        FileNotFoundError: when it is not there.
        ValueError: naming file and key, for what is unknown, missing or cannot be trained.
    """
    try:
        given = tomllib.loads(path.read_text())
    except FileNotFoundError:
        raise FileNotFoundError(f"{path} is not there; give a study's TOML file.") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} is no TOML file ({error}).") from error
    try:
        return _study(path, given)
    except (ValueError, TypeError) as error:
        raise ValueError(f"{path}: {error}") from error


def _study(path: Path, given: dict[str, Any]) -> Study:
    needed = ("title", "claim", "test", "recipe", "seeds", "arms", "tests")
    _check_keys("the file", given, needed, ("reference", "choose", "finals", "combine"))
    recipe = given["recipe"]
    _check_keys("[recipe]", recipe, ("train_examples",), _SETTINGS)
    arms = tuple(_arm(table) for table in given["arms"])
    if not arms:
        raise ValueError("arms is empty; give at least one [[arms]].")
    names = [arm.name for arm in arms]
    if twice := {name for name in names if names.count(name) > 1}:
        raise ValueError(f"two arms have the name {min(twice)!r}; give each its own.")
    study = Study(
        path=path,
        title=given["title"],
        claim=given["claim"].strip(),
        test=given["test"].strip(),
        recipe=recipe,
        seeds=_seeds("seeds", given["seeds"]),
        arms=arms,
        tests=tuple(_test(table) for table in given["tests"]),
        reference=given.get("reference", names[0]),
        choice=_choice(given["choose"]) if "choose" in given else None,
        finals=_finals(given["finals"]) if "finals" in given else None,
        combine=given.get("combine", ""),
    )
    _check_arms("reference", (study.reference,), names)
    for arm in study.arms:
        try:
            study.recipe_of(arm.name)
        except (ValueError, TypeError) as error:
            raise ValueError(f"arm {arm.name!r}: {error}") from error
    _check_teachers(study, names)
    _check_choice(study)
    if study.combine:
        _check_combine(study, names)
    _check_finals(study, names)
    for test in study.tests:
        _check_test(study, test, names)
    for run in study.runs(is_forecast=True):
        _check_run(run)
    return study


def _check_run(run: PlannedRun) -> None:
    """Refuses what would fail only after other runs have been made."""
    place, recipe = f"arm {run.arm!r}", run.recipe
    if type(recipe.train_examples) is not int or recipe.train_examples < 1:
        given = recipe.train_examples
        raise ValueError(f"{place}: train_examples={given!r} must be a number from 1.")
    try:
        steps_per_epoch(recipe)
    except ValueError as error:
        raise ValueError(f"{place}: {error}") from error
    if recipe.strategy == "multiworker":
        raise ValueError(
            f"{place}: strategy='multiworker' puts several machines to one run, and a study gives "
            "each its own; leave it out, and use --shard."
        )


def _arm(table: dict[str, Any]) -> Arm:
    _check_keys("[[arms]]", table, ("name",), _SETTINGS)
    if not re.fullmatch(r"[\w.-]+", table["name"]):
        raise ValueError(
            f"[[arms]]: name={table['name']!r} becomes a folder's; use letters, digits and _.-"
        )
    return Arm(table["name"], {key: table[key] for key in table if key != "name"})


def _choice(table: dict[str, Any]) -> Choice:
    _check_keys("[choose]", table, ("setting", "values", "seeds"), ("held_out",))
    _check_setting("[choose]", table["setting"])
    if table["setting"] in _NOT_CHOSEN:
        raise ValueError(f"[choose]: setting={table['setting']!r} cannot be chosen; use another.")
    try:
        values = tuple(sorted(table["values"]))
    except TypeError:
        raise ValueError(f"[choose]: values={table['values']!r} must be of one kind.") from None
    if not values:
        raise ValueError("[choose]: values is empty; give at least one value.")
    texts = [as_text(value) for value in values]
    if twice := {text for text in texts if texts.count(text) > 1}:
        raise ValueError(
            f"[choose]: two values are {min(twice)} in their first 6 digits, by which rows and "
            "folders know them; leave one of them out."
        )
    held_out = table.get("held_out", _HELD_OUT)
    if type(held_out) is not int or held_out < 1:
        raise ValueError(
            f"[choose]: held_out={held_out!r} must be a number of training images from 1, so that "
            "nothing is chosen on test images."
        )
    seeds = _seeds("[choose] seeds", table["seeds"])
    return Choice(table["setting"], values, seeds, held_out)


def _finals(table: dict[str, Any]) -> Finals:
    _check_keys("[finals]", table, ("seeds",), ("arms", "best_of", *_SETTINGS))
    settings = {key: table[key] for key in table if key in _SETTINGS}
    seeds = _seeds("[finals] seeds", table["seeds"])
    return Finals(seeds, settings, tuple(table.get("arms", ())), table.get("best_of", ""))


def _check_teachers(study: Study, names: list[str]) -> None:
    if "teacher" in study.recipe or (study.finals and "teacher" in study.finals.settings):
        raise ValueError("teacher is for arms; give it to those that are taught.")
    taught = [arm for arm in study.arms if "teacher" in arm.settings]
    teachers = {arm.name: arm.settings["teacher"] for arm in taught}
    for arm, teacher in teachers.items():
        _check_arms(f"arm {arm!r}: teacher", (teacher,), names)
        if teacher in teachers:
            raise ValueError(
                f"arm {arm!r}: teacher={teacher!r} has a teacher too; give one without."
            )
        if study.choice:
            raise ValueError(f"arm {arm!r}: teacher does not go with [choose]; leave one out.")


def _check_choice(study: Study) -> None:
    """Refuses what the choice would put its own in place of."""
    if not study.choice:
        return
    setting = study.choice.setting
    places = [(f"arm {arm.name!r}", arm.settings) for arm in study.arms]
    places += [("[finals]", study.finals.settings)] if study.finals else []
    for place, settings in places:
        if setting in settings:
            raise ValueError(
                f"{place}: {setting} is what [choose] chooses for every arm; leave it out there."
            )


def _check_combine(study: Study, names: list[str]) -> None:
    """Refuses what could not be put together, or would be chosen on the images of the finals."""
    if study.combine in names:
        raise ValueError(f"combine={study.combine!r} is an arm's name; give it another.")
    if study.choice:
        raise ValueError("combine does not go with [choose]; leave one of the two out.")
    if not study.recipe.get("held_out"):
        raise ValueError(
            "combine chooses arms, and not on test images; give [recipe] held_out = 5000."
        )
    if not study.finals or study.combine not in study.finals.arms:
        raise ValueError(f"combine={study.combine!r} must be among [finals] arms, which test it.")
    if study.finals.settings.get("held_out") != 0:
        raise ValueError("[finals] must have held_out = 0, for images that nothing was chosen on.")
    if study.arm(study.reference).settings:
        raise ValueError(
            f"the reference {study.reference!r} has settings, and arms are put together over "
            "[recipe] alone; move them there."
        )


def _check_finals(study: Study, names: list[str]) -> None:
    if not study.finals:
        return
    _check_arms("[finals] arms", study.finals.arms, [*names, study.combine or names[0]])
    if bool(study.finals.arms) == bool(study.finals.best_of):
        raise ValueError("[finals] needs either arms or best_of.")
    if study.finals.best_of:
        _check_setting("[finals] best_of", study.finals.best_of)
        if not study.choice:
            raise ValueError("[finals]: best_of needs held-out images, that is a [choose].")
    is_any = study.finals.best_of or study.combine
    ending = {*names} if is_any else {*study.finals.arms, *study.teachers}
    for arm in study.arms:
        if arm.name in ending and (both := [*study.finals.settings.keys() & arm.settings.keys()]):
            raise ValueError(
                f"arm {arm.name!r}: {min(both)} would be another in the finals, by [finals]; leave "
                "it out in one of the two."
            )


def _test(table: dict[str, Any]) -> Test:
    _check_keys("[[tests]]", table, ("kind", "says"), tuple(f.name for f in fields(Test)))
    check_choice("[[tests]]: kind", table["kind"], tuple(_KINDS))
    _check_keys(
        f"a test of kind {table['kind']!r}",
        table,
        _KINDS[table["kind"]],
        ("kind", "says", "figure", "phase"),
    )
    return Test(**table)


def _check_test(study: Study, test: Test, names: list[str]) -> None:
    if test.phase not in ("main", "final") or (test.phase == "final" and not study.finals):
        raise ValueError(f"[[tests]]: phase={test.phase!r} is not one of this study.")
    if test.figure not in Row.figures():
        raise ValueError(
            f"[[tests]]: figure={test.figure!r} is no column of epochs.csv; use one of "
            f"{', '.join(Row.figures())}."
        )
    if test.kind == "peak":
        if test.phase == "final":
            raise ValueError("[[tests]]: a peak is one over all arms; leave out phase='final'.")
        _check_setting("[[tests]]", test.setting)
        values = [getattr(study.recipe_of(name), test.setting) for name in names]
        if len({v for v in values if isinstance(v, (int, float))}) < max(3, len(values)):
            raise ValueError(
                f"[[tests]]: setting={test.setting!r} must be another number in every arm, of at "
                f"least 3; it is {values}."
            )
        return
    if test.phase == "final":
        chosen = dict.fromkeys(names, ("", None, 0.0))
        names = list(study.finalists(chosen, study.reference))
    than = (test.than,) if test.than else ()
    _check_arms("[[tests]]", (test.arm, *than), names)
    if test.kind == "equivalent" and not test.margin > 0:
        raise ValueError(f"[[tests]]: margin={test.margin} must be above 0.")


def _check_keys(
    place: str, table: dict[str, Any], needed: tuple[str, ...], further: tuple[str, ...]
) -> None:
    if not isinstance(table, dict):
        raise ValueError(f"{place} must be a table; it is {table!r}.")
    for key in table:
        if key not in needed + further:
            known = ", ".join([*needed, *further])
            raise ValueError(f"{place} has the unknown key {key!r}; known are {known}.")
    for key in needed:
        if key not in table:
            raise ValueError(f"{place} lacks the key {key!r}.")
    for key in table.keys() & _TYPES.keys():
        _check_type(place, key, table[key])


def _check_type(place: str, key: str, value: Any) -> None:
    kind = _TYPES[key]
    is_finite = is_number(value) and math.isfinite(value)
    if not (is_finite if kind is float else isinstance(value, kind)):
        cure = f"; write [[{key}]]" if kind is list and isinstance(value, dict) else ""
        raise ValueError(f"{place}: {key}={value!r} must be {_CALLED[kind]}{cure}.")


def _check_setting(place: str, name: str) -> None:
    if name not in _SETTINGS:
        raise ValueError(
            f"{place}: {name!r} is no setting of a recipe; use one of {', '.join(_SETTINGS)}."
        )


def _check_arms(place: str, given: Iterable[str], names: Iterable[str]) -> None:
    for name in given:
        if name not in names:
            raise ValueError(f"{place}: {name!r} is no arm; the arms are {', '.join(names)}.")


def _seeds(place: str, given: Any) -> tuple[int, ...]:
    is_list = isinstance(given, list) and all(type(seed) is int and seed >= 0 for seed in given)
    if not is_list or not given or len(set(given)) < len(given):
        raise ValueError(f"{place}={given!r} must be a list of different numbers from 0.")
    return tuple(given)
