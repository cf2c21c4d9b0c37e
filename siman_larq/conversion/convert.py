"""From Keras model to 1-bit TFLite file."""

import contextlib
import re
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import tensorflow as tf

from siman_larq._optional import require
from siman_larq.choices import is_number
from siman_larq.conversion.binary import binary_layers, fits_one_bit, why_float
from siman_larq.conversion.errors import ConversionError, SmallMapWarning
from siman_larq.conversion.flatbuffer import TFLiteFile, finished
from siman_larq.conversion.forms import convolution_patches
from siman_larq.conversion.freeze import Graph, frozen
from siman_larq.conversion.images import calibration_steps
from siman_larq.conversion.int8 import in_int8
from siman_larq.conversion.int8_file import check_int8, without_barriers
from siman_larq.conversion.packing import key_of, layer_key, packed_layers
from siman_larq.conversion.patches import as_in_a_file, codes_as_constants, patched
from siman_larq.conversion.process import LceError, convert_graph
from siman_larq.conversion.proof import Trial, check, run_model
from siman_larq.conversion.signature import Inputs, inputs_of, output_names
from siman_larq.conversion.weights import check_weights

__all__ = ["convert"]

# Of samples, on which a file with integers is held against its model.
_CHECKED_STEPS = 8


def convert(
    model: tf.keras.Model,
    allow_float: Sequence[str] = (),
    small_maps: str = "warn",
    time_limit: float = 900.0,
    float_ops: str = "float32",
    samples: Any = None,
) -> bytes:
    r"""Converts a model to a TFLite file in which every binary convolution is a 1-bit op.

    Codes are put into the file as constants: kernels in {-1, +1} as they are, kernels in {0, 1}
    as \\(a * B = \frac{1}{2} (a * (2B - 1) + a * 1)\\). Inputs and outputs stand in Keras's order,
    with Keras's names in the file's signature. LCE runs in a process of its own. Before the file
    is given out it is loaded, and it is held against the model on random inputs; where no kernel of
    LCE runs it rightly, a `UserWarning` says that it was not. The model is left as it is.

    !!! example
        ```python
        tflite = siman_larq.convert(model)
        pathlib.Path("model.tflite").write_bytes(tflite)
        ```

    # Arguments
        model: A Keras model of any kind that is built or was called; any quantizers.
        allow_float: Names of binary layers that may stay float.
        small_maps: What to do about zero padding on maps smaller than the kernel, which LCE's
            default and indirect kernels compute wrongly. `"warn"`: name the layers in a
            `SmallMapWarning`. `"rewrite"`: put an equal form into the file (padding with ones
            minus a constant) that is right in every kernel.
        time_limit: Seconds after which LCE is stopped.
        float_ops: `"float32"`, or `"int8"`: float convolutions and dense layers compute in 8-bit
            integers, with batch normalisation and ReLU in them, in ranges measured on `samples`.
            Inputs and outputs stay float32, and binary layers and sums between them as they are.
            The file is then no longer equal to the model: its integers are held against a model
            whose weights and activations are rounded like them, and how much accuracy is lost
            `verify` tells.
        samples: For `"int8"`, 32 images or more of the kind that the model was trained on (some
            hundred are usual), as `verify` takes them.

    # Returns
        The file's bytes.

    # Raises
        ConversionError: naming every binary layer that would stay float, with the reason; for
            NaN or infinite weights, naming layer and weights; for a model whose outputs for one
            sample are not a function of that sample; when LCE fails, or its file does not load
            or gives other outputs than the model.
        ImportError: if Larq Compute Engine is not installed.
        TypeError: for what is no Keras model.
        ValueError: for a name in `allow_float` that is no binary layer, another `small_maps` or
            `float_ops`, or `samples` that are missing, too few, not finite or not the model's.
    """
    if not isinstance(model, tf.keras.Model):
        raise TypeError(f"convert: model={model!r} is no tf.keras.Model.")
    if small_maps not in ("warn", "rewrite"):
        raise ValueError(f"convert: small_maps={small_maps!r} is unknown; use 'warn' or 'rewrite'.")
    if float_ops not in ("float32", "int8"):
        raise ValueError(f"convert: float_ops={float_ops!r} is unknown; use 'float32' or 'int8'.")
    if (float_ops == "int8") != (samples is not None):
        raise ValueError(
            "convert: float_ops='int8' measures ranges on samples; give samples=images, some "
            "hundred of the kind that the model was trained on."
            if samples is None
            else "convert: samples are for float_ops='int8' only; add it, or leave them out."
        )
    if not is_number(time_limit) or not time_limit > 0:
        raise ValueError(f"convert: time_limit={time_limit!r} must be above 0 seconds.")
    require("larq_compute_engine", extra="convert", purpose="convert")
    inputs = inputs_of(model)
    layers = binary_layers(model)
    allowed = _checked_names(model, layers, allow_float)
    if not layers:
        warnings.warn(
            f"Model {model.name!r} has no binary layer (one whose kernel quantizer has precision "
            "1), so its file is all float.",
            UserWarning,
            stacklevel=2,
        )
    check_weights(model)
    steps = None if samples is None else calibration_steps(model, inputs, samples)
    job = _Job(model, inputs, layers, allowed, small_maps == "rewrite", time_limit, steps)
    with as_in_a_file(model):
        tflite = job.carry_out()
    for warning in job.warnings:
        warnings.warn(warning, type(warning), stacklevel=2)
    return tflite


def _checked_names(
    model: tf.keras.Model, layers: list[tf.keras.layers.Layer], allow_float: Sequence[str]
) -> set[str]:
    allowed = {allow_float} if isinstance(allow_float, str) else set(allow_float)
    known = [layer.name for layer in layers]
    if unknown := sorted(allowed - set(known)):
        raise ValueError(
            f"convert: allow_float names {unknown}, which are no binary layers of model "
            f"{model.name!r}; it has {known}."
        )
    return allowed


@dataclass
class _Job:
    model: tf.keras.Model
    inputs: Inputs
    layers: list[tf.keras.layers.Layer]
    allowed: set[str]
    rewrite: bool
    time_limit: float
    calibration: list[list[np.ndarray]] | None

    def carry_out(self) -> bytes:
        self.warnings: list[Warning] = []
        trial, self.records = run_model(self.model, self.inputs, self.layers)
        tflite, graph = self._converted(trial, set())
        if wrong := self._wrongly_packed(tflite):
            tflite, graph = self._converted(trial, wrong)
        self._check_packed(tflite)
        self._check_maps()
        with self._explained(tflite):
            doubt = check(self.model, self.inputs, self.layers, trial, graph, tflite)
        if self.calibration is not None:
            tflite, doubt = self._in_int8(graph, trial, tflite, self.calibration)
        if doubt:
            self.warnings.append(UserWarning(doubt))
        return tflite

    def _in_int8(
        self, graph: Graph, trial: Trial, tflite: bytes, steps: list[list[np.ndarray]]
    ) -> tuple[bytes, str | None]:
        """The file with integers, and what could not be shown of it."""
        if graph.is_quantized:
            raise ConversionError(
                f"Model {self.model.name!r} has fake quantization of its own, of which its file "
                "computes in integers anyway; leave float_ops='int8' out."
            )
        made = in_int8(graph, steps)
        quantized = self._file(made.graph, trial)
        size = self.inputs.specs[0].shape[0] or 1
        few = [
            [v[n : n + size] for v in step] for step in steps for n in range(0, len(step[0]), size)
        ]
        with self._explained(quantized):
            return quantized, check_int8(made, quantized, tflite, few[:_CHECKED_STEPS])

    @contextlib.contextmanager
    def _explained(self, tflite: bytes) -> Iterator[None]:
        """Says of a file that does not run where and why."""
        try:
            yield
        except LceError as error:
            raise ConversionError(
                f"The file of model {self.model.name!r} does not run{self._where(tflite, error)} "
                f"({error})"
            ) from error

    def _converted(self, trial: Trial, kept_float: set[int]) -> tuple[bytes, Graph]:
        patches = convolution_patches(self.records, self.rewrite, kept_float)
        with codes_as_constants(self.model), patched(patches):
            graph = frozen(self.model, self.inputs)
        return self._file(graph, trial), graph

    def _file(self, graph: Graph, trial: Trial) -> bytes:
        names = output_names(self.model, trial.structure)
        try:
            tflite = convert_graph(graph, self.time_limit)
            if graph.is_quantized:
                tflite = without_barriers(tflite)
            return finished(tflite, self.inputs.names, names)
        except (LceError, ValueError) as error:
            raise ConversionError(
                f"Larq Compute Engine could not convert model {self.model.name!r}: {error}"
            ) from error

    def _wrongly_packed(self, tflite: bytes) -> set[int]:
        """Layers that became 1-bit ops although one bit cannot hold their inputs or weights."""
        packed = {convolution.key for convolution in TFLiteFile(tflite).binary_convolutions}
        return {
            id(record.layer)
            for record in self.records
            if key_of(record.kernel) in packed
            and not (record.has_signs and fits_one_bit(record.kernel))
        }

    def _check_packed(self, tflite: bytes) -> None:
        _, left = packed_layers(self.model, tflite)
        failed = [layer for layer in left if layer.name not in self.allowed]
        if failed:
            signs = {id(record.layer): record.has_signs for record in self.records}
            is_fixed = self.inputs.have_fixed_sizes
            reasons = "\n  ".join(
                f"{layer.name}: {why_float(layer, signs.get(id(layer)), is_fixed)}"
                for layer in failed
            )
            names = [layer.name for layer in failed]
            raise ConversionError(
                f"{len(failed)} binary layers of model {self.model.name!r} would stay float:\n"
                f"  {reasons}\nIf that is what you want, pass allow_float={names}."
            )

    def _check_maps(self) -> None:
        small = [record.layer.name for record in self.records if record.has_small_maps]
        unknown = [record.layer.name for record in self.records if record.has_unknown_maps]
        if unknown and self.rewrite:
            raise ConversionError(
                f"Layers {', '.join(unknown)} pad with zeros on maps of unknown size, for which "
                "small_maps='rewrite' has no form; give the model inputs of a fixed size."
            )
        if unknown:
            self.warnings.append(
                SmallMapWarning(
                    f"Layers {', '.join(unknown)} pad with zeros on maps of unknown size. On maps "
                    "smaller than their kernel Larq Compute Engine's default and indirect kernels "
                    "compute these wrongly; give the model inputs of a fixed size."
                )
            )
        elif small and not self.rewrite:
            self.warnings.append(
                SmallMapWarning(
                    f"Layers {', '.join(small)} pad with zeros on maps smaller than their kernel, "
                    "and Larq Compute Engine's default and indirect kernels compute these "
                    "wrongly. Convert with small_maps='rewrite', which is right everywhere, or "
                    "use larger images, pad_values=1, or, for an even number "
                    "of input channels, the interpreter's use_reference_bconv=True."
                )
            )

    def _where(self, tflite: bytes, error: LceError) -> str:
        """The layer behind the node that the interpreter names, if it can be told, and the cure."""
        named = re.search(r"[Nn]ode number (\d+) \((\w+)\)", str(error))
        if named is None:
            return ""
        if named[2] == "LceDequantize" and not self.inputs.have_fixed_sizes:
            _, left = packed_layers(self.model, tflite)
            names = ", ".join(repr(layer.name) for layer in left) or "some layer"
            return (
                f": {names} has binary inputs and is no 1-bit op, and Larq Compute Engine runs "
                "that for inputs of a fixed size only; give the model such inputs"
            )
        for convolution in TFLiteFile(tflite).binary_convolutions:
            for layer in self.layers:
                if convolution.node == int(named[1]) and layer_key(layer) == convolution.key:
                    return (
                        f": Larq Compute Engine took what stands directly behind layer "
                        f"{layer.name!r} into its 1-bit op, which cannot hold it; put an "
                        "activation such as tf.keras.layers.PReLU between them"
                    )
        if named[2].isupper() or named[2].startswith("Lce"):
            return f": operator {named[2]}"
        return f": TFLite has no operator {named[2]}; write the layer that needs it in others"
