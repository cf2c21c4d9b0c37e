"""What people give as images, as the arrays that a model takes, in its order."""

from typing import Any

import numpy as np
import tensorflow as tf

from siman_larq.conversion.signature import Inputs

__all__ = ["calibration_steps", "flat_images"]

_FEWEST_SAMPLES = 32
# Of samples, in one step.
_STEP_BYTES = 2**22


def flat_images(
    model: tf.keras.Model, inputs: Inputs, images: Any, caller: str = "verify"
) -> list[np.ndarray]:
    """Arrays for the inputs of a model, in its order, with a first axis of images.

    They may be cast to the types of the inputs, but are not yet: all at once they take memory.

    # Arguments
        model: The model, for messages.
        inputs: Its inputs.
        images: An array; for several inputs a list in their order, or a dict by their names.
        caller: What the images are given to, for messages.

    # Raises
        ValueError: naming the input, what it takes and what was given.
    """
    try:
        return _arrays(model, inputs, images)
    except ValueError as error:
        raise ValueError(f"{caller}: {error}") from error


def calibration_steps(
    model: tf.keras.Model, inputs: Inputs, samples: Any
) -> list[list[np.ndarray]]:
    """Samples to measure ranges on, in steps that the model takes.

    # Arguments
        model: The model, for messages.
        inputs: Its inputs.
        samples: As for `flat_images`.

    # Raises
        ValueError: for samples that the model does not take, fewer than 32, NaN or infinite
            values, or samples that are all the same.
    """
    arrays = flat_images(model, inputs, samples, "convert: samples")
    count = len(arrays[0])
    if count < _FEWEST_SAMPLES:
        raise ValueError(
            f"convert: {count} samples are too few to measure ranges on; give {_FEWEST_SAMPLES} or "
            "more, of the kind that the model was trained on: some hundred are usual."
        )
    for name, array in zip(inputs.names, arrays, strict=True):
        if not np.isfinite(array).all():
            raise ValueError(
                f"convert: samples for input {name!r} hold values that are NaN or infinite; give "
                "finite ones."
            )
    if all((array == array[:1]).all() for array in arrays):
        raise ValueError("convert: all samples are the same, which tells no range; give images.")
    bytes_each = sum(array[0].size * 4 for array in arrays)
    size = inputs.specs[0].shape[0] or min(64, max(1, _STEP_BYTES // bytes_each))
    types = [spec.dtype.as_numpy_dtype for spec in inputs.specs]
    # A fixed batch is filled up with samples again.
    places = [np.arange(n, n + size) for n in range(0, count, size)]
    if inputs.specs[0].shape[0] is None:
        places[-1] = places[-1][places[-1] < count]
    return [
        [array[step % count].astype(t, copy=False) for array, t in zip(arrays, types, strict=True)]
        for step in places
    ]


def _arrays(model: tf.keras.Model, inputs: Inputs, images: Any) -> list[np.ndarray]:
    given = _in_order(model, inputs, images)
    arrays = [
        _checked(model, _label(inputs, name), spec, value)
        for name, spec, value in zip(inputs.names, inputs.specs, given, strict=True)
    ]
    counts = [len(array) for array in arrays]
    if len(set(counts)) > 1:
        raise ValueError(
            f"inputs {', '.join(inputs.names)} of model {model.name!r} are given {counts} "
            "images; give equally many."
        )
    return arrays


def _label(inputs: Inputs, name: str) -> str:
    return f" for input {name!r}" if len(inputs.names) > 1 else ""


def _in_order(model: tf.keras.Model, inputs: Inputs, images: Any) -> list[Any]:
    names, count = inputs.names, len(inputs.names)
    if isinstance(images, dict):
        flat = _flat_dict(images)
        if sorted(flat) != sorted(names):
            raise ValueError(
                f"images are given by the names {sorted(flat)}; model {model.name!r} has "
                f"the inputs {names}."
            )
        return [flat[name] for name in names]
    if isinstance(images, (list, tuple)):
        if count == 1:
            # One array in a list, as Keras takes it; or a list of images.
            rank = inputs.specs[0].shape.rank
            is_array = len(images) == 1 and rank is not None and np.ndim(images[0]) == rank
            return [images[0] if is_array else images]
        flat_list = tf.nest.flatten(images) if len(images) != count else list(images)
        if len(flat_list) == count:
            return flat_list
        raise ValueError(
            f"{len(images)} arrays are given; model {model.name!r} has {count} inputs: "
            f"{', '.join(names)}."
        )
    if count > 1:
        raise ValueError(
            f"images={type(images).__name__} is one thing; model {model.name!r} has "
            f"{count} inputs ({', '.join(names)}): give a list in this order, or a dict by name."
        )
    return [images]


def _flat_dict(images: dict, prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in images.items():
        name = f"{prefix}{key}"
        parts = dict(enumerate(value)) if isinstance(value, tuple) else value
        flat |= _flat_dict(parts, f"{name}/") if isinstance(parts, dict) else {name: value}
    return flat


def _checked(model: tf.keras.Model, label: str, spec: tf.TensorSpec, value: Any) -> np.ndarray:
    try:
        array = np.asarray(value)
    except (TypeError, ValueError) as error:
        raise ValueError(f"images{label} are no array of one shape ({error}).") from error
    wanted = np.dtype(spec.dtype.as_numpy_dtype)
    if array.dtype != wanted and array.dtype.kind not in "fiub":
        raise ValueError(
            f"images{label} are {type(value).__name__} of type {array.dtype}; give a NumPy "
            f"array of {wanted.name}."
        )
    shape = spec.shape.as_list()
    fits = array.ndim == len(shape) and all(
        n is None or n == m for n, m in zip(shape[1:], array.shape[1:], strict=True)
    )
    if not fits or len(array) == 0:
        sample = "".join(f", {'any' if n is None else n}" for n in shape[1:])
        raise ValueError(
            f"images of shape {array.shape}{label} do not fit; model "
            f"{model.name!r} takes (images{sample}), and at least one."
        )
    if np.issubdtype(wanted, np.integer) and not np.array_equal(array.astype(wanted), array):
        raise ValueError(
            f"images of {array.dtype}{label} are no {wanted.name}, which model "
            f"{model.name!r} takes; casting would change values in "
            f"[{array.min():g}, {array.max():g}]. Give {wanted.name}."
        )
    return array
