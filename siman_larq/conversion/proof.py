"""Holds graph and file against the model on random inputs, before a file is given out."""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import larq as lq
import numpy as np
import tensorflow as tf

from siman_larq.conversion.binary import binary_layers
from siman_larq.conversion.errors import ConversionError
from siman_larq.conversion.flatbuffer import TFLiteFile, with_input_shapes
from siman_larq.conversion.forms import Observed, observed
from siman_larq.conversion.freeze import Graph
from siman_larq.conversion.outputs import are_equal, are_rows, largest_difference
from siman_larq.conversion.patches import as_in_a_file, patched
from siman_larq.conversion.process import LceError, run_file
from siman_larq.conversion.signature import Inputs, inputs_of, output_names

__all__ = [
    "NOT_COMPARED",
    "Trial",
    "check",
    "run_model",
    "run_steps",
    "small_map_layers",
]

# Samples of the first trial, and of those after it while nothing is decided.
_SAMPLES = (4, 4, 8)
# Of samples in which rounding may turn a sign, so many must be equal all the same.
_ENOUGH = 4
# For maps of unknown size: the first that the model takes.
_SIZES = (32, 64, 96, 128, 224, 256)
# Of files that compute in 8 bits.
_INTEGER_TOLERANCE = 0.1

NOT_COMPARED = (
    "The file loads, but no kernel of Larq Compute Engine runs it rightly, so it was not compared "
    "with the model; compare it with verify(model, tflite, images, runtime='siman')."
)
"""What is said of a file for which `run_steps` gives `None`."""


@dataclass(frozen=True)
class Trial:
    """Random inputs and what a model gives for them.

    # Attributes
        inputs: For each input a batch.
        outputs: For each output a batch.
        structure: The outputs as the model nests them.
        is_one_step: Whether the batch has the one size that the model takes.
    """

    inputs: list[np.ndarray]
    outputs: list[np.ndarray]
    structure: Any
    is_one_step: bool

    @property
    def steps(self) -> list[list[np.ndarray]]:
        """The inputs of each step of a file, which takes one sample at a time."""
        if self.is_one_step:
            return [self.inputs]
        return [[value[n : n + 1] for value in self.inputs] for n in range(len(self.inputs[0]))]

    @property
    def steps_outputs(self) -> list[list[np.ndarray]]:
        """The outputs that belong to the steps."""
        if self.is_one_step:
            return [self.outputs]
        count = len(self.inputs[0])
        return [
            [value[n : n + 1] if value.shape[:1] == (count,) else value for value in self.outputs]
            for n in range(count)
        ]


def run_model(
    model: tf.keras.Model, inputs: Inputs, layers: list[tf.keras.layers.Layer], turn: int = 0
) -> tuple[Trial, list[Observed]]:
    """Runs a model on random inputs and watches what goes into its binary convolutions.

    # Arguments
        model: The model.
        inputs: Its inputs.
        layers: Its binary layers.
        turn: Number of the trial; every one has other inputs.

    # Raises
        ConversionError: when the model does not run, or gives other outputs the second time.
    """
    convolutions = [layer for layer in layers if isinstance(layer, lq.layers.QuantConv2D)]
    watched = [observed(layer) for layer in convolutions]
    is_one_step = any(spec.shape.rank and spec.shape[0] is not None for spec in inputs.specs)
    with patched([patch for _, patch in watched]), _unchanged(model):
        values = _that_run(model, inputs, _SAMPLES[turn], turn)
        structure, again = (
            inputs.call(model, [tf.constant(value) for value in values]) for _ in range(2)
        )
    outputs, repeated = (
        [np.asarray(output) for output in tf.nest.flatten(result)] for result in (structure, again)
    )
    if not all(are_equal(a, b) for a, b in zip(outputs, repeated, strict=True)):
        raise ConversionError(
            f"Model {model.name!r} gives other outputs when it is called again with the same "
            "inputs, so no file can equal it. Look for layers that are called with training=True, "
            "such as Dropout or BatchNormalization, and for random quantizers."
        )
    return Trial(values, outputs, structure, is_one_step), [record for record, _ in watched]


def small_map_layers(model: tf.keras.Model) -> list[tf.keras.layers.Layer]:
    """Binary convolutions that pad with zeros on maps smaller than their kernel."""
    with as_in_a_file(model):
        _, records = run_model(model, inputs_of(model), binary_layers(model))
    return [record.layer for record in records if record.has_small_maps]


def _that_run(model: tf.keras.Model, inputs: Inputs, count: int, turn: int) -> list[np.ndarray]:
    """Random inputs that a model takes."""
    is_fixed = inputs.have_fixed_sizes
    error = None
    for size in _SIZES[: 1 if is_fixed else None]:
        generator = np.random.default_rng(turn)
        values = [_random(generator, spec, count, size) for spec in inputs.specs]
        try:
            inputs.call(model, [tf.constant(value) for value in values])
            return values
        except Exception as reason:
            error = error or reason
    assert error is not None
    tried = "" if is_fixed else f" of {', '.join(map(str, _SIZES))} pixels"
    raise ConversionError(
        f"Model {model.name!r} does not run on random inputs{tried} "
        f"({type(error).__name__}: {' '.join(str(error).split())[:500]})."
    ) from error


def _random(
    generator: np.random.Generator, spec: tf.TensorSpec, count: int, size: int
) -> np.ndarray:
    known = spec.shape.as_list()
    shape = [count if axis == 0 and n is None else n or size for axis, n in enumerate(known)]
    if spec.dtype.is_floating:
        return generator.normal(size=shape).astype(spec.dtype.as_numpy_dtype)
    # Any pixel; of other integers, which may be indices, the two that are always in range.
    most = 256 if spec.dtype == tf.uint8 else 2
    return generator.integers(0, most, shape).astype(spec.dtype.as_numpy_dtype)


@contextlib.contextmanager
def _unchanged(model: tf.keras.Model) -> Iterator[None]:
    """Takes back what a model's call does to its own state."""
    kept = [(variable, variable.numpy()) for variable in model.non_trainable_variables]
    try:
        yield
    finally:
        for variable, value in kept:
            variable.assign(value)


def check(
    model: tf.keras.Model,
    inputs: Inputs,
    layers: list[tf.keras.layers.Layer],
    trial: Trial,
    graph: Graph,
    tflite: bytes,
) -> str | None:
    """Raises unless graph and file give what the model gives, as far as rounding lets it.

    Where an activation lies so near a jump that rounding may decide, outputs may differ
    altogether; then other samples are taken, until one is equal.

    # Arguments
        model: The model.
        inputs: Its inputs.
        layers: Its binary layers.
        trial: Random inputs, and what the model gives for them.
        graph: Its graph.
        tflite: Its file.

    # Returns
        A sentence when nothing could be decided, else `None`.

    # Raises
        ConversionError: when outputs differ.
        LceError: when the file does not load or run.
    """
    graph_counts, file_counts = _Counts(), _Counts()
    for turn in range(len(_SAMPLES)):
        if turn:
            trial, _ = run_model(model, inputs, layers, turn)
        runs = [graph.run(step) for step in trial.steps]
        of_graph = [outputs for outputs, _ in runs]
        safe = [is_safe for _, is_safe in runs]
        if not graph_counts.add(trial.steps_outputs, of_graph, safe):
            raise ConversionError(_why_graph_differs(model, trial, graph, of_graph))
        of_file = run_steps(tflite, trial.steps)
        if of_file is None:
            return NOT_COMPARED
        if graph.is_quantized:
            return _doubt_of_integers(model, of_graph, of_file)
        if not file_counts.add(of_graph, of_file, safe):
            difference = largest_difference(of_graph, of_file)
            raise ConversionError(
                f"The file of model {model.name!r} gives other outputs than the model for random "
                f"inputs (largest difference {difference:.3g}), and rounding cannot be why: Larq "
                "Compute Engine converted it wrongly. Convert parts of the model to find the layer."
            )
        if graph_counts.are_enough and file_counts.are_enough:
            return None
    return (
        f"The file of model {model.name!r} could not be shown to equal the model: of "
        f"{sum(_SAMPLES)} random inputs {file_counts.equal} give equal outputs, and in all of them "
        "an activation lies so near the threshold of its quantizer that rounding may be why. Call "
        "verify(model, tflite, images) with images of the kind it is made for."
    )


def _doubt_of_integers(
    model: tf.keras.Model, of_graph: list[list[np.ndarray]], of_file: list[list[np.ndarray]]
) -> str:
    outputs = [value for step in of_graph for value in step]
    most = max(float(np.abs(value[np.isfinite(value)]).max(initial=0.0)) for value in outputs)
    difference = largest_difference(of_graph, of_file)
    if difference > _INTEGER_TOLERANCE * most:
        raise ConversionError(
            f"The file of model {model.name!r}, which computes in integers because of its fake "
            f"quantization, is off by {difference:.3g} of {most:.3g} for random inputs; leave the "
            "fake quantization out."
        )
    return (
        f"The file of model {model.name!r} computes in integers, because of its fake quantization, "
        f"and is off by up to {difference:.3g} of {most:.3g} for random inputs."
    )


@dataclass
class _Counts:
    """Samples with equal outputs, and those of them in which rounding had no say."""

    equal: int = 0
    safe: int = 0

    def add(
        self, expected: list[list[np.ndarray]], given: list[list[np.ndarray]], safe: list[bool]
    ) -> bool:
        """Whether outputs are equal wherever rounding has no say."""
        for a, b, is_safe in zip(expected, given, safe, strict=True):
            is_equal = len(a) == len(b) and all(map(are_equal, a, b))
            if is_safe and not is_equal:
                return False
            self.equal += is_equal
            self.safe += is_safe
        return True

    @property
    def are_enough(self) -> bool:
        return self.safe > 0 or self.equal >= _ENOUGH


def run_steps(tflite: bytes, steps: list[list[np.ndarray]]) -> list[list[np.ndarray]] | None:
    """Outputs of a file; `None` if it loads, but no kernel of LCE runs it rightly."""
    shaped = with_input_shapes(tflite, [value.shape for value in steps[0]])
    stacks = [np.stack(values) for values in zip(*steps, strict=True)]
    is_reference = TFLiteFile(tflite).needs_reference_kernel
    try:
        outputs = run_file(shaped, stacks, is_reference)
    except LceError:
        if not is_reference:
            raise
        # Other runtimes may run it rightly; it must load at least.
        run_file(shaped, [stack[:0] for stack in stacks])
        return None
    return [[output[n] for output in outputs] for n in range(len(steps))]


def _why_graph_differs(
    model: tf.keras.Model, trial: Trial, graph: Graph, of_graph: list[list[np.ndarray]]
) -> str:
    together, _ = graph.run(trial.inputs)
    if all(are_equal(a, b) for a, b in zip(trial.outputs, together, strict=True)):
        names, count = output_names(model, trial.structure), len(trial.inputs[0])
        for name, whole, *parts in zip(names, trial.outputs, *of_graph, strict=True):
            if whole.shape[:1] != (count,) and are_rows(whole, parts):
                return (
                    f"Output {name!r} of model {model.name!r} has {len(whole)} rows for {count} "
                    "samples, so it cannot be told which belong to a sample, and a file takes one "
                    "sample at a time. Keep the samples' axis first, as in tf.reshape(x, (-1, 2, "
                    "4)) in place of (-1, 4); or fix the batch size of the input."
                )
        return (
            f"The outputs of model {model.name!r} for one sample depend on the others in its "
            "batch, and a file takes one sample at a time. Look for layers that are called with "
            "training=True, such as BatchNormalization; or fix the batch size of the input."
        )
    difference = largest_difference([trial.outputs], [together])
    return (
        f"The graph of model {model.name!r} gives other outputs than the model for random inputs "
        f"(largest difference {difference:.3g}): it does something in eager mode that its graph "
        "does not, or has a convolution_op of its own that is not linear in its kernel."
    )
