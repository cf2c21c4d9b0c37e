"""Names and order of inputs and outputs, of models and of their files."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import tensorflow as tf

from siman_larq.conversion.errors import ConversionError

__all__ = ["Inputs", "file_names", "input_names", "inputs_of", "output_names"]


@dataclass(frozen=True)
class Inputs:
    """The inputs of a model.

    # Attributes
        nested: Positional and keyword arguments of the model's call, of `tf.TensorSpec`.
        specs: The same, flat, in the order of `tf.nest`, which is Keras's and the file's.
        names: A name for each: its key where inputs are a dict, else that of its input layer.
    """

    nested: tuple[tuple[Any, ...], dict[str, Any]]
    specs: list[tf.TensorSpec]
    names: list[str]

    @property
    def have_fixed_sizes(self) -> bool:
        """Whether all sizes but the batch's are known."""
        return all(spec.shape[1:].is_fully_defined() for spec in self.specs)

    def call(self, model: tf.keras.Model, flat: list[Any]) -> Any:
        """Calls a model for inference, with its inputs in flat order."""
        args, kwargs = tf.nest.pack_sequence_as(self.nested, flat)
        return model(*args, **kwargs, training=False)


def inputs_of(model: tf.keras.Model) -> Inputs:
    """The inputs of a model, of any kind of Keras's, in Keras's order.

    # Raises
        ConversionError: for a model that was neither built from inputs nor called, and for
            inputs that are no dense tensors.
    """
    saved = model.save_spec(dynamic_batch=True)
    if saved is None:
        raise ConversionError(
            f"Model {model.name!r} is not built: the shapes of its inputs are unknown. Call it "
            "once on an image, model(images[:1]), or give it a tf.keras.Input."
        )
    args, kwargs = saved
    if model.inputs is not None and not _is_deferred(model):
        # As given to Keras: with the batch size, if one was fixed.
        flat = [tf.TensorSpec(tensor.shape, tensor.dtype) for tensor in model.inputs]
        args, kwargs = [tf.nest.pack_sequence_as(model.input, flat)], {}
    kwargs = {name: value for name, value in kwargs.items() if name not in ("training", "mask")}
    nested = (tuple(args), kwargs)
    specs = tf.nest.flatten(nested)
    for spec in specs:
        if not isinstance(spec, tf.TensorSpec) or spec.dtype == tf.string:
            raise ConversionError(
                f"Model {model.name!r} has the input {spec!r}; a file takes dense tensors of "
                "numbers only."
            )
        if spec.dtype.is_floating and spec.dtype != tf.float32:
            raise ConversionError(
                f"Model {model.name!r} has an input of dtype {spec.dtype.name}, and Larq Compute "
                "Engine takes floats as float32 only; give it tf.keras.Input(..., "
                "dtype='float32')."
            )
    structure = nested[0][0] if len(args) == 1 and not kwargs else nested
    names = _names(structure, getattr(model, "input_names", None), len(specs), "input")
    return Inputs(nested, specs, names)


def _is_deferred(model: tf.keras.Model) -> bool:
    """Whether a Sequential model took its shape, and by it a batch size, from its first call."""
    if not isinstance(model, tf.keras.Sequential) or not model.layers:
        return False
    return model.input_names[0] == f"{model.layers[0].name}_input"


def input_names(model: tf.keras.Model) -> list[str]:
    """The names of a model's inputs, in the order of its file's."""
    return inputs_of(model).names


def output_names(model: tf.keras.Model, outputs: Any) -> list[str]:
    """The names of a model's outputs, in the order of its file's.

    # Arguments
        model: The model.
        outputs: What it gives: a tensor, or a list, tuple or dict of such.
    """
    declared = getattr(model, "output_names", None)
    return _names(outputs, declared, len(tf.nest.flatten(outputs)), "output")


def _names(structure: Any, declared: list[str] | None, count: int, kind: str) -> list[str]:
    """Keys of dicts where there are any, else the names that Keras gave, else numbers."""
    paths = ["/".join(path) for path in _paths(structure)]
    if any(not part.isdigit() for path in paths for part in path.split("/") if part):
        return _distinct(paths)
    if declared and len(declared) == count:
        return _distinct(list(declared))
    return [f"{kind}_{number}" for number in range(count)] if count > 1 else [kind]


def _paths(structure: Any) -> Iterator[tuple[str, ...]]:
    if isinstance(structure, dict):
        parts = [(str(key), structure[key]) for key in sorted(structure)]
    elif isinstance(structure, (list, tuple)):
        parts = [(str(number), part) for number, part in enumerate(structure)]
    else:
        yield ()
        return
    for key, part in parts:
        yield from ((key, *path) for path in _paths(part))


def _distinct(names: list[str]) -> list[str]:
    made: list[str] = []
    for name in names:
        numbered = (f"{name}_{number}" for number in range(1, len(names) + 1))
        made.append(name if name not in made else next(n for n in numbered if n not in made))
    return made


def file_names(content: Any) -> tuple[list[str], list[str]]:
    """The names of a file's inputs and outputs in its order: its signature's, else its tensors'.

    # Arguments
        content: The file as an object of TFLite's schema (`ModelT`).
    """
    graph = content.subgraphs[0]
    signature = content.signatureDefs[0] if content.signatureDefs else None

    def names(tensors: Any, entries: Any) -> list[str]:
        left = list(entries or [])
        found = []
        for index in tensors:
            # A tensor may be two outputs, each with a name of its own.
            entry = next((entry for entry in left if entry.tensorIndex == index), None)
            if entry is not None:
                left.remove(entry)
            own = graph.tensors[index].name if entry is None else entry.name
            found.append((own or b"").decode())
        return found

    return (
        names(graph.inputs, signature and signature.inputs),
        names(graph.outputs, signature and signature.outputs),
    )
