"""Settings inside a TFLite file: how its inputs were prepared, and what its classes are called."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from siman_larq.choices import is_number
from siman_larq.conversion.flatbuffer import TFLiteFile, written
from siman_larq.conversion.signature import inputs_of

__all__ = ["METADATA_NAME", "add_input_settings", "check_input_settings", "read_input_settings"]

METADATA_NAME = "siman_input"
"""The name of the settings in the file's metadata, which interpreters leave alone."""

_MOST = 1e30  # what siman-runtime computes with, in float32


def add_input_settings(tflite: bytes, settings: Mapping[str, Any]) -> bytes:
    """Puts settings into a TFLite file, where siman-runtime reads them; older ones are replaced.

    A copy of the file can then be used alone: `siman-run model.tflite picture.png`.

    !!! example
        ```python
        tflite = add_input_settings(
            siman_larq.convert(model), {"mean": [0.5], "std": [0.25], "class_names": ["cat", "dog"]}
        )
        ```

    # Arguments
        tflite: The file's bytes.
        settings: `mean` and `std` of each channel (or one of all), for pixels in [0, 1]; where they
            apply `class_names`, `picture_size` (height and width inside a black border), `is_grey`
            and `crop` (side of the central square that is used, over the shorter side of a
            picture), as in a run folder's `input.json`.

    # Returns
        The bytes of the new file.

    # Raises
        ValueError: for what is no whole TFLite file; for settings without `mean` or `std` or with
            another number of them than channels; for another number of names than outputs; for
            values that siman-runtime does not take.
    """
    file = TFLiteFile(tflite)
    model, graph = file.content, file.graph
    plain = _plain(settings)
    classes = [_shape(graph.tensors[output].shape)[-1] for output in graph.outputs]
    first = graph.tensors[graph.inputs[0]]
    has_signature = first.shapeSignature is not None and len(first.shapeSignature) > 0
    _check(plain, _shape(first.shapeSignature if has_signature else first.shape), classes)
    content = np.frombuffer(json.dumps(plain, allow_nan=False).encode(), np.uint8)
    for entry in model.metadata or []:
        if entry.name == METADATA_NAME.encode():
            model.buffers[entry.buffer].data = content
            return written(model)
    entry = file.schema.MetadataT()
    entry.name, entry.buffer = METADATA_NAME, len(model.buffers)
    model.metadata = [*(model.metadata or []), entry]
    buffer = file.schema.BufferT()
    buffer.data = content
    model.buffers.append(buffer)
    return written(model)


def read_input_settings(tflite: bytes) -> dict[str, Any] | None:
    """The settings that `add_input_settings` put into a file, `None` if there are none.

    # Arguments
        tflite: The file's bytes.

    # Raises
        ValueError: for what is no whole TFLite file.
    """
    model = TFLiteFile(tflite).content
    for entry in model.metadata or []:
        if entry.name == METADATA_NAME.encode():
            return json.loads(bytes(bytearray(model.buffers[entry.buffer].data)))
    return None


def check_input_settings(model: tf.keras.Model, settings: Mapping[str, Any]) -> None:
    """Raises what `add_input_settings` would raise once the model is converted.

    # Arguments
        model: The model.
        settings: As for `add_input_settings`.

    # Raises
        ValueError: for settings that do not fit the model.
    """
    inputs = inputs_of(model)

    @tf.function(input_signature=inputs.specs)
    def call(*flat: tf.Tensor) -> list[tf.Tensor]:
        return tf.nest.flatten(inputs.call(model, list(flat)))

    shapes = [output.shape for output in call.get_concrete_function().outputs]
    classes = [shape[-1] if shape.rank else None for shape in shapes]
    _check(_plain(settings), inputs.specs[0].shape.as_list(), classes)


def _plain(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Settings as those get them who read the file."""
    try:
        return json.loads(json.dumps(dict(settings)))
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"add_input_settings: settings cannot be written as JSON ({error}); give numbers, text "
            "and lists."
        ) from error


def _shape(sizes: Any) -> list[int | None]:
    """The shape of a tensor of a file, of which sizes may be unknown; a number is a list of one."""
    known = [] if sizes is None else [None if n < 0 else int(n) for n in sizes]
    return known or [1]


def _check(
    settings: dict[str, Any], shape: list[int | None], classes: Sequence[int | None]
) -> None:
    """Raises unless siman-runtime takes settings, for inputs of a shape and outputs of classes."""
    for name, least, allowed in (
        ("mean", -_MOST, "finite numbers are needed, up to 1e30"),
        ("std", 1 / _MOST, "finite numbers above 0 are needed, from 1e-30 to 1e30"),
    ):
        values = settings.get(name)
        if not isinstance(values, list) or len(values) not in (1, shape[-1]):
            cure = f"one value for each of the {shape[-1]} channels is needed in a list, or one"
            raise _refused(settings, name, f"{cure} for all")
        if not all(is_number(value) and least <= value <= _MOST for value in values):
            raise _refused(settings, name, allowed)
    _check_pictures(settings, shape)
    names = settings.get("class_names", [])
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise _refused(settings, "class_names", "a list of texts is needed")
    if names and None not in classes and list(classes) != [len(names)]:
        raise ValueError(
            f"add_input_settings: {len(names)} class_names for a model with outputs of "
            f"{list(classes)} classes."
        )


def _check_pictures(settings: dict[str, Any], shape: list[int | None]) -> None:
    crop = settings.get("crop", 1.0)
    if not is_number(crop) or not 0 < crop <= 1:
        raise _refused(settings, "crop", "a number above 0 and up to 1 is needed")
    if not isinstance(settings.get("is_grey", False), bool):
        raise _refused(settings, "is_grey", "true or false is needed")
    size = settings.get("picture_size", [])
    is_size = isinstance(size, list) and all(type(n) is int and n > 0 for n in size)
    if not is_size or len(size) not in (0, 2):
        raise _refused(settings, "picture_size", "a list of height and width in pixels is needed")
    if len(shape) == 4 and any(n and m > n for n, m in zip(shape[1:3], size, strict=False)):
        raise _refused(settings, "picture_size", f"the model takes {shape[1]} x {shape[2]} pixels")


def _refused(settings: dict[str, Any], name: str, cure: str) -> ValueError:
    return ValueError(f"add_input_settings: {name}={settings.get(name)!r}; {cure}.")
