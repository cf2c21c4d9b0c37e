"""In what a model is not the one that was saved, beside its weights."""

import json
import re
from typing import Any

import tensorflow as tf

from siman_larq.bits.entries import Described
from siman_larq.bits.file import Contents
from siman_larq.bits.settings import described

__all__ = ["difference"]


def difference(saved: Contents, model: tf.keras.Model) -> str | None:
    """The first difference, in words.

    # Arguments
        saved: What a file holds. Of its layers nothing is known in files that were written before
            they were kept.
        model: The model, whose weights have the names and shapes of the other's.
    """
    if not saved.layers:
        return None
    theirs, (ours, outputs) = saved.layers, described(model)
    for there, here in zip(theirs, ours, strict=False):
        if there.kind != here.kind:
            return f"where it has a {there.kind}, the model has layer {here.layer!r}, a {here.kind}"
        found = _of_settings(there.settings, here.settings) or _of_calls(there, here, theirs, ours)
        if found:
            return f"layer {here.layer!r} {found}"
    if len(theirs) > len(ours):
        return f"the model lacks a {theirs[len(ours)].kind} that it has at the end"
    if len(theirs) < len(ours):
        return f"it lacks layer {ours[len(theirs)].layer!r}"
    if None not in (saved.outputs, outputs) and saved.outputs != outputs:
        return (
            f"it gives {_named(saved.outputs, theirs)}, and the model gives {_named(outputs, ours)}"
        )
    return None


def _of_settings(theirs: dict[str, Any], ours: dict[str, Any]) -> str | None:
    for key, value in theirs.items():
        mine = ours.get(key, value)
        if not _same(value, mine):
            return f"has {_told(key, value)} in it and {_told(key, mine)} in the model"
    return None


def _told(key: str, value: Any) -> str:
    if isinstance(value, dict) and "quantizer" in value:
        value = value["quantizer"]
    return f"{key}={value!r:.60}"


def _same(one: Any, other: Any) -> bool:
    """Quantizers are the same where they give the same values, whatever they are called."""
    if all(isinstance(value, dict) and "answers" in value for value in (one, other)):
        return bool(one["answers"] == other["answers"])
    return bool(one == other)


def _of_calls(
    there: Described, here: Described, theirs: list[Described], ours: list[Described]
) -> str | None:
    if there.calls is None or here.calls is None or there.calls == here.calls:
        return None
    if len(there.calls) != len(here.calls):
        return f"is called {len(there.calls)} times in it and {len(here.calls)} times in the model"
    for call, other in zip(there.calls, here.calls, strict=True):
        if _tensors(call) != _tensors(other):
            return f"follows {_named(call, theirs)} in it and {_named(other, ours)} in the model"
        for key in call | other:
            one, mine = call.get(key, "its default"), other.get(key, "its default")
            if one != mine:
                return f"is called with {_told(key, one)} in it and {_told(key, mine)} in the model"
    return None


def _tensors(value: Any) -> list[str]:
    return re.findall(r'"((?:\d{1,9}|input):\d{1,9}(?::\d{1,9})?)"', json.dumps(value))


def _named(value: Any, layers: list[Described]) -> str:
    """The layers that tensors come from."""
    names = []
    for tensor in _tensors(value):
        layer, number = tensor.split(":")[:2]
        known = layer != "input" and int(layer) < len(layers)
        names.append(repr(layers[int(layer)].layer) if known else f"input {number}")
    return " and ".join(names) or "nothing"
