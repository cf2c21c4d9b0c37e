"""Holds a TFLite file against the model it was made from."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from siman_larq._private import forget_gradients
from siman_larq.choices import is_number, is_whole
from siman_larq.conversion.comparison import Comparison, Kept, Report
from siman_larq.conversion.errors import ConversionError
from siman_larq.conversion.flatbuffer import TFLiteFile
from siman_larq.conversion.images import flat_images
from siman_larq.conversion.interpreter import Runner, runner
from siman_larq.conversion.layerwise import Layerwise
from siman_larq.conversion.packing import packed_layers
from siman_larq.conversion.places import Places
from siman_larq.conversion.signature import Inputs, inputs_of, output_names
from siman_larq.conversion.size import float32_bytes, theoretical_bytes

__all__ = ["verify"]

_LAST_PLACES = {"float16": 2.0**-10, "bfloat16": 2.0**-7}


def verify(
    model: tf.keras.Model,
    tflite: bytes | str | os.PathLike,
    images: Any,
    batch_size: int = 64,
    num_threads: int = 1,
    runtime: str = "lce",
    tolerance: float | None = None,
    layers: bool = False,
    strict: bool = False,
) -> Report:
    """Runs a model and its TFLite file on the same images, and compares each output by name.

    !!! example
        ```python
        report = siman_larq.verify(model, tflite, images[:1000])
        print(report)
        assert report.agrees
        ```

    # Arguments
        model: The Keras model.
        tflite: The file's bytes, or its path.
        images: Inputs as the model takes them, shape `(images, ...)`; for several inputs a list
            in their order, or a dict by their names. Integers become floats without scaling, as
            in Keras.
        batch_size: Images per step of the Keras model, if it does not fix that itself.
        num_threads: Threads of the interpreter.
        runtime: `"lce"` for LCE's own interpreter, or `"siman"` for the package siman-runtime,
            which gives the same outputs many times faster, and is right where LCE is not.
        tolerance: What differences count as equal, relative to the magnitude of outputs. `None`
            is 1e-4, or four units in the last place of the model's precision if that is more; a
            file made with `float_ops="int8"` is judged by its agreement or accuracy.
        layers: Whether each image is also followed through the binary layers, which tells
            rounding from a wrong file; with `runtime="siman"` only. The model is then that of the
            file: in float32, and with 1 for the sign of 0.
        strict: Whether it is an error if the file is not the model's: with `layers` a difference
            that rounding does not explain, without it any.

    # Returns
        A `Report`.

    # Raises
        ConversionError: with `strict`, if the file is not the model's.
        ImportError: if LCE, or for `"siman"` siman-runtime, is not installed.
        FileNotFoundError: for a path without a file.
        TypeError: for what is no Keras model, or no file.
        ValueError: for a damaged file, a file of another model, no images, images that the model
            does not take, outputs that are not told apart by image, or a file that none of LCE's
            kernels computes rightly.
    """
    _check_options(model, tflite, batch_size, num_threads, runtime, tolerance, layers)
    content = tflite if isinstance(tflite, bytes) else Path(tflite).read_bytes()
    file = TFLiteFile(content)  # A damaged file would end the process in the interpreter.
    inputs = inputs_of(model)
    arrays = flat_images(model, inputs, images)
    keras = _KerasRunner(model, inputs)
    places = Places(model, inputs, keras.names, file)
    layerwise = Layerwise(model, inputs, file, keras.names) if layers else None
    if layerwise is not None:
        batch_size = min(batch_size, layerwise.images_at_once)
    stepper = _Steps(inputs, keras, file, batch_size)
    if tolerance is None:
        tolerance = max(1e-4, 4 * _last_place(model))
    comparisons = [Comparison(name, tolerance) for name in keras.names]
    kept = Kept(keras.names), Kept(keras.names)
    run: Runner | None = None
    for values, count in stepper.steps(arrays):
        given = places.inputs_for_file(values)
        if run is None:
            first = [v[: stepper.of_file] for v in given]
            run = runner(content, first, num_threads, runtime, layers)
        ours = stepper.cut(keras(values), count)
        theirs = stepper.cut(places.outputs_of_file(run.run(given)), count, is_file=True)
        if layerwise is not None:
            layerwise.add(values, count, run.traced(), theirs)
        for comparison, a, b in zip(comparisons, ours, theirs, strict=True):
            comparison.add(a, b)
        for part, outputs in zip(kept, (ours, theirs), strict=True):
            part.add(outputs)
    assert run is not None
    packed, left = packed_layers(model, file)
    report = Report(
        outputs=tuple(comparison.report() for comparison in comparisons),
        tolerance=tolerance,
        packed=[layer.name for layer in packed],
        left_float=[layer.name for layer in left],
        size_bytes=len(content),
        theoretical_bytes=theoretical_bytes(model, content),
        float32_bytes=float32_bytes(model),
        images=len(arrays[0]),
        kernel=run.kernel,
        keras_outputs=kept[0].value(),
        tflite_outputs=kept[1].value(),
        layers=None if layerwise is None else layerwise.report(),
        int8_operators=len(file.int8_operators),
    )
    _check(report, strict)
    return report


def _check(report: Report, strict: bool) -> None:
    if not strict or report.is_of_model:
        return
    if report.layers is not None:
        raise ConversionError(f"verify: {report.layers}.")
    raise ConversionError(
        f"verify: the file does not agree with the model on all images:\n{report}"
    )


def _check_options(
    model: Any,
    tflite: Any,
    batch_size: Any,
    num_threads: Any,
    runtime: Any,
    tolerance: Any,
    layers: Any,
) -> None:
    if not isinstance(model, tf.keras.Model):
        raise TypeError(f"verify: model={model!r} is no tf.keras.Model.")
    if not isinstance(tflite, (bytes, str, os.PathLike)):
        raise TypeError(
            f"verify: tflite is {type(tflite).__name__}; give the file's bytes, or its path."
        )
    for name, value in (("batch_size", batch_size), ("num_threads", num_threads)):
        if not is_whole(value) or value < 1:
            raise ValueError(f"verify: {name}={value!r}; give a whole number from 1 on.")
    if tolerance is not None and not (is_number(tolerance) and 0 <= tolerance < np.inf):
        raise ValueError(
            f"verify: tolerance={tolerance!r}; give a finite number from 0 on, relative to the "
            "outputs' magnitude, or None for 1e-4."
        )
    if runtime not in ("lce", "siman"):
        raise ValueError(f"verify: runtime={runtime!r}; 'lce' and 'siman' are known.")
    if layers and runtime != "siman":
        raise ValueError(
            "verify: layers=True needs runtime='siman', as LCE's interpreter shows no bits; it is "
            "the package siman-runtime."
        )


def _last_place(model: tf.keras.Model) -> float:
    """The unit in the last place of the coarsest type that a model computes in."""
    parts = [model, *model.submodules]
    types = {part.compute_dtype for part in parts if isinstance(part, tf.keras.layers.Layer)}
    return max(_LAST_PLACES.get(name, 0.0) for name in types)


class _KerasRunner:
    """A model as a function of its inputs in flat order, for inference."""

    def __init__(self, model: tf.keras.Model, inputs: Inputs) -> None:
        structure: list[Any] = []

        @tf.function(input_signature=inputs.specs)
        def call(*flat: tf.Tensor) -> list[tf.Tensor]:
            outputs = inputs.call(model, list(flat))
            structure.append(tf.nest.map_structure(lambda tensor: tensor.shape, outputs))
            return [tf.convert_to_tensor(output) for output in tf.nest.flatten(outputs)]

        self._call = call.get_concrete_function()
        forget_gradients(self._call.graph)
        self.shapes = [tensor.shape for tensor in self._call.outputs]
        self.names = output_names(model, structure[0])

    def __call__(self, values: list[np.ndarray]) -> list[np.ndarray]:
        return [output.numpy() for output in self._call(*map(tf.constant, values))]


class _Steps:
    """How many images model and file take at a time.

    # Attributes
        of_file: Images in a step of the file.
    """

    def __init__(
        self, inputs: Inputs, keras: _KerasRunner, file: TFLiteFile, batch_size: int
    ) -> None:
        fixed = inputs.specs[0].shape[0]
        self.of_file = max(1, int(file.graph.tensors[file.graph.inputs[0]].shape[0]))
        self._names = keras.names
        self._is_per_image = all(
            shape.rank is None or (shape.rank > 0 and shape[0] == fixed) for shape in keras.shapes
        )
        self._least = fixed or self.of_file
        self._types = [spec.dtype.as_numpy_dtype for spec in inputs.specs]
        # Without an axis of images an output is that of a whole step, which then is the file's.
        wanted = batch_size if self._is_per_image and fixed is None else 1
        self._of_model = -(-wanted // self._least) * self._least

    def steps(self, arrays: list[np.ndarray]) -> Iterator[tuple[list[np.ndarray], int]]:
        """The images of each step, cast and filled up with the last, and how many count."""
        for start in range(0, len(arrays[0]), self._of_model):
            parts = [array[start : start + self._of_model] for array in arrays]
            # As Keras casts: integers become floats without scaling.
            values = [p.astype(t, copy=False) for p, t in zip(parts, self._types, strict=True)]
            count = len(values[0])
            missing = -count % self._least
            if missing:
                values = [np.concatenate([v, np.repeat(v[-1:], missing, axis=0)]) for v in values]
            yield values, count

    def cut(self, outputs: list[np.ndarray], count: int, is_file: bool = False) -> list[np.ndarray]:
        """The outputs of the images that count; of a step, where there is no axis of images.

        # Raises
            ValueError: for outputs whose first axis was not known, and does not count the images.
        """
        if not self._is_per_image:
            return [output[np.newaxis] for output in outputs]
        given = -(-count // self._least) * self._least
        for name, output in zip(self._names, outputs, strict=True):
            if output.shape[:1] != (given,):
                rows = f"{len(output)} rows" if output.ndim else "a single number"
                cure = "keep the images' axis first, or fix the batch size of the model's input"
                raise ValueError(
                    f"verify: output {name!r} has {rows} for {given} images"
                    f"{' in the file' if is_file else ''}, so it cannot be told which belong to an "
                    f"image; {'this file is of another model' if is_file else cure}."
                )
        return [output[:count] for output in outputs]
