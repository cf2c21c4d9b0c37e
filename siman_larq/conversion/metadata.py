"""Settings inside a TFLite file: how its inputs were prepared, and what its classes are called."""

import json
import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from siman_larq.conversion.flatbuffer import TFLiteFile, written

__all__ = ["METADATA_NAME", "add_input_settings", "read_input_settings"]

METADATA_NAME = "siman_input"
"""The name of the settings in the file's metadata, which interpreters leave alone."""


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
            and `crop`, as in a run folder's `input.json`.

    # Returns
        The bytes of the new file.

    # Raises
        ValueError: for what is no whole TFLite file; for settings without `mean` or `std` or with
            another number of them than channels; for another number of names than outputs.
    """
    file = TFLiteFile(tflite)
    model = file.content
    _check(settings, model.subgraphs[0])
    content = np.frombuffer(json.dumps(settings, allow_nan=False).encode(), np.uint8)
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


def _check(settings: Mapping[str, Any], graph: Any) -> None:
    channels = _last_size(graph, graph.inputs[0])
    for name, allowed in (("mean", "finite numbers"), ("std", "finite numbers above 0")):
        values = settings.get(name)
        if not values or len(values) not in (1, channels):
            raise ValueError(
                f"add_input_settings: {name}={values!r}; one value for each of the {channels} "
                "channels is needed, or one for all."
            )
        if not all(math.isfinite(value) and (name == "mean" or value > 0) for value in values):
            raise ValueError(f"add_input_settings: {name}={values!r}; {allowed} are needed.")
    names = settings.get("class_names")
    classes = [_last_size(graph, output) for output in graph.outputs]
    if names and classes != [len(names)]:
        raise ValueError(
            f"add_input_settings: {len(names)} class_names for a model with outputs of {classes} "
            "classes."
        )


def _last_size(graph: Any, tensor: int) -> int:
    shape = graph.tensors[tensor].shape
    return 1 if shape is None or len(shape) == 0 else int(shape[-1])
