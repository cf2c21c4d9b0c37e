"""The functions that saved models of Larq Zoo hold, without its import, which takes a second."""

import importlib
from collections.abc import Callable
from typing import Any

import larq as lq
import tensorflow as tf

__all__ = ["register"]

_FUNCTIONS = {
    "blurpool_initializer": "larq_zoo.sota.quicknet",
    "clip_by_value_activation": "larq_zoo.literature.dorefanet",
    "magnitude_aware_sign_unclipped": "larq_zoo.literature.dorefanet",
    "xnor_weight_scale": "larq_zoo.literature.xnornet",
}
_BINARY = ("magnitude_aware_sign_unclipped", "xnor_weight_scale")


def register() -> None:
    """Registers a stand-in for each with Keras, which imports Larq Zoo when it is called."""
    known = tf.keras.utils.get_custom_objects()
    for name, module in _FUNCTIONS.items():
        known.setdefault(name, _stand_in(module, name))


def _stand_in(module: str, name: str) -> Callable[..., Any]:
    def function(*args: Any, **kwargs: Any) -> Any:
        return getattr(importlib.import_module(module), name)(*args, **kwargs)

    function.__name__ = name
    return lq.utils.set_precision(1)(function) if name in _BINARY else function
