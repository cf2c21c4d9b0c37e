"""Where the inputs and outputs of a model stand in a file."""

from typing import Any

import numpy as np
import tensorflow as tf

from siman_larq.conversion.flatbuffer import TFLiteFile
from siman_larq.conversion.signature import Inputs, file_names

__all__ = ["Places"]


class Places:
    """Where the inputs and outputs of a model stand in a file.

    # Arguments
        model: The model.
        inputs: Its inputs.
        names: Names of its outputs.
        file: The file.

    # Raises
        ValueError: when the file is of another model.
    """

    def __init__(
        self, model: tf.keras.Model, inputs: Inputs, names: list[str], file: TFLiteFile
    ) -> None:
        names_of_inputs, names_of_outputs = file_names(file.content)
        # Other converters know Keras's names, and no keys of dicts.
        declared = [getattr(model, f"{kind}_names", None) or [] for kind in ("input", "output")]
        has_signature = bool(file.content.signatureDefs)
        self._inputs = _order(
            model, "input", [inputs.names, declared[0]], names_of_inputs, has_signature
        )
        self._outputs = _order(
            model, "output", [names, declared[1]], names_of_outputs, has_signature
        )
        tensors = [file.graph.tensors[index] for index in file.graph.inputs]
        types = {code: name for name, code in vars(file.schema.TensorType).items()}
        self._types: list[Any] = [None] * len(tensors)
        for name, spec, place in zip(inputs.names, inputs.specs, self._inputs, strict=True):
            self._types[place] = _checked_type(model, name, spec, types[tensors[place].type])
            _check_shape(model, name, spec, tensors[place])

    def inputs_for_file(self, values: list[np.ndarray]) -> list[np.ndarray]:
        """Inputs in the file's order and of its types."""
        found: list[Any] = [None] * len(values)
        for value, place in zip(values, self._inputs, strict=True):
            found[place] = np.ascontiguousarray(value.astype(self._types[place], copy=False))
        return found

    def outputs_of_file(self, outputs: list[np.ndarray]) -> list[np.ndarray]:
        """A file's outputs in the model's order."""
        return [outputs[place] for place in self._outputs]


def _order(
    model: tf.keras.Model,
    kind: str,
    candidates: list[list[str]],
    in_file: list[str],
    has_signature: bool,
) -> list[int]:
    """The place in the file of each of a model's inputs or outputs."""
    if len(in_file) == len(candidates[0]):
        for names in candidates:
            if sorted(names) == sorted(in_file) and len(set(names)) == len(names):
                return [in_file.index(name) for name in names]
        # One needs no name; and a file that has no signature has no names that mean anything.
        if len(in_file) == 1 or not has_signature:
            return list(range(len(in_file)))
    raise ValueError(
        f"verify: this file is of another model: its {kind}s are {in_file}, those of model "
        f"{model.name!r} are {candidates[0]}. Name the layers of {kind}s, and convert the model."
    )


def _checked_type(model: tf.keras.Model, name: str, spec: tf.TensorSpec, in_file: str) -> np.dtype:
    wanted = np.dtype(spec.dtype.as_numpy_dtype)
    found = np.dtype(in_file.lower()) if in_file.lower() in np.sctypeDict else None
    both_float = found is not None and found.kind == "f" and spec.dtype.is_floating
    if found is None or not (both_float or np.can_cast(wanted, found, "safe")):
        raise ValueError(
            f"verify: input {name!r} is {wanted.name} in model {model.name!r} and "
            f"{in_file.lower()} in the file, which is of another model, or quantized: convert "
            "this model."
        )
    return found


def _check_shape(model: tf.keras.Model, name: str, spec: tf.TensorSpec, tensor: Any) -> None:
    wanted, found = spec.shape.as_list(), [int(n) for n in tensor.shape]
    given = tensor.shapeSignature
    signature = found if given is None or len(given) == 0 else [int(n) for n in given]
    fits = len(wanted) == len(found) and all(
        a is None or b == -1 or a == b for a, b in zip(wanted[1:], signature[1:], strict=True)
    )
    if not fits:
        raise ValueError(
            f"verify: input {name!r} has the shape {tuple(wanted[1:])} for an image in model "
            f"{model.name!r} and {tuple(found[1:])} in the file; this file is of another model."
        )
