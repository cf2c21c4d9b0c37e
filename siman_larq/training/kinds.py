"""Kinds of settings, which dataclasses do not look at and files of settings may have wrong."""

from dataclasses import fields
from typing import Any, get_args

from siman_larq.choices import is_number

__all__ = ["check_kinds"]

_NAMES = {
    str: "a text",
    int: "a whole number",
    float: "a number",
    bool: "true or false",
    type(None): "nothing",
}


def check_kinds(settings: Any, but: tuple[str, ...] = ()) -> None:
    """Checks the fields of a dataclass, of plain kinds or unions of them.

    # Arguments
        settings: An instance.
        but: Fields that are of other kinds.

    # Raises
        ValueError: naming the field, its value and what it must be.
    """
    for field in fields(settings):
        if field.name in but:
            continue
        value, kinds = getattr(settings, field.name), get_args(field.type) or (field.type,)
        if not any(_is_of(value, kind) for kind in kinds):
            names = " or ".join(_NAMES[kind] for kind in kinds)
            raise ValueError(f"{field.name}={value!r} must be {names}.")


def _is_of(value: Any, kind: Any) -> bool:
    if kind is float:
        return is_number(value)
    return isinstance(value, kind) and (kind is bool or not isinstance(value, bool))
