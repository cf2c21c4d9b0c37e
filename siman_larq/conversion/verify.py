"""Proof that a TFLite file computes what its Keras model does."""

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import larq_compute_engine as lce
import numpy as np
import tensorflow as tf

from siman_larq.conversion.flatbuffer import TFLiteModel
from siman_larq.conversion.layers import binary_layers, binary_weight_count
from siman_larq.conversion.packing import packing

__all__ = ["Report", "verify"]


@dataclass(frozen=True)
class Report:
    """What `verify` found; `str(report)` is a table of it.

    # Attributes
        agreement: Fraction of images whose largest output is the same.
        max_abs_difference: Largest difference of an output.
        packed: Names of the binary layers that are 1-bit in the file.
        left_float: Names of the binary layers that are not.
        size_bytes: Size of the file.
        theoretical_bytes: Binary weights at 1 bit and all other weights at 32.
        float32_bytes: All weights at 32 bits.
        images: Number of images.
        kernel: LCE's kernel that ran: `"indirect"` or `"reference"`.
        keras_outputs: The model's outputs.
        tflite_outputs: The file's outputs.
    """

    agreement: float
    max_abs_difference: float
    packed: list[str]
    left_float: list[str]
    size_bytes: int
    theoretical_bytes: int
    float32_bytes: int
    images: int
    kernel: str
    keras_outputs: np.ndarray = field(repr=False, compare=False)
    tflite_outputs: np.ndarray = field(repr=False, compare=False)

    def __str__(self) -> str:
        binary = len(self.packed) + len(self.left_float)
        rows = [
            ("images", f"{self.images:,}"),
            ("top-1 agreement", f"{self.agreement:.2%}"),
            ("largest difference", f"{self.max_abs_difference:.3g}"),
            ("1-bit layers", f"{len(self.packed)} of {binary}"),
            ("left float", ", ".join(self.left_float) or "none"),
            ("file", f"{self.size_bytes:,} bytes"),
            ("theory", f"{self.theoretical_bytes:,} bytes"),
            ("all weights float32", f"{self.float32_bytes:,} bytes"),
            ("LCE kernel", self.kernel),
        ]
        width = max(len(label) for label, _ in rows)
        return "\n".join(f"{label:<{width}}  {value}" for label, value in rows)


def verify(
    model: tf.keras.Model,
    tflite: bytes | str | os.PathLike,
    images: Any,
    num_threads: int = 1,
    batch_size: int = 64,
) -> Report:
    """Runs a Keras model and its TFLite file on the same images and compares them.

    The file runs in the Larq Compute Engine's own interpreter, with its indirect kernels or, where
    those are wrong (zero padding on maps smaller than the kernel) or missing (grouped
    convolutions), with the reference ones. On x86-64 both are slow by design.

    !!! example
        ```python
        print(siman_larq.verify(model, siman_larq.convert(model), images[:100]))
        ```

    # Arguments
        model: The Keras model, with one input and one output.
        tflite: The content of the TFLite file, or its path.
        images: Array of images, as the model takes them.
        num_threads: Threads of LCE's interpreter.
        batch_size: For the Keras model; the interpreter takes images one at a time.

    # Returns
        A `Report`.

    # Raises
        FileNotFoundError: if there is no such file.
        ValueError: for anything but a whole TFLite file, for images of another shape than the
            model's and the file's input, and for no images.
    """
    content = _content(tflite)
    try:
        file = TFLiteModel(content)
    except ValueError as error:
        raise ValueError(f"verify: {_label(tflite)}: {error}") from error
    images = _checked_images(model, file, images)
    kernel = _kernel(file)
    expected = np.asarray(model.predict(images, batch_size=batch_size, verbose=0), np.float32)
    actual = _run(content, images, kernel, num_threads)
    if expected.shape != actual.shape:
        raise ValueError(
            f"verify: the model gives outputs of shape {expected.shape}, the file of shape "
            f"{actual.shape}; is it another model's file?"
        )
    layers = binary_layers(model)
    found = packing(layers, file)
    weights, binary = model.count_params(), binary_weight_count(layers)
    tops = [outputs.reshape(len(images), -1).argmax(axis=1) for outputs in (expected, actual)]
    return Report(
        agreement=float(np.mean(tops[0] == tops[1])),
        max_abs_difference=float(np.abs(expected - actual).max()),
        packed=found.packed,
        left_float=found.left_float,
        size_bytes=len(content),
        theoretical_bytes=-(-binary // 8) + 4 * (weights - binary),
        float32_bytes=4 * weights,
        images=len(images),
        kernel=kernel,
        keras_outputs=expected,
        tflite_outputs=actual,
    )


def _content(tflite: Any) -> bytes:
    if isinstance(tflite, (bytes, bytearray, memoryview)):
        return bytes(tflite)
    path = Path(tflite)
    if not path.is_file():
        raise FileNotFoundError(f"verify: there is no file {path}.")
    return path.read_bytes()


def _label(tflite: Any) -> str:
    is_content = isinstance(tflite, (bytes, bytearray, memoryview))
    return "the given content" if is_content else str(tflite)


def _checked_images(model: tf.keras.Model, file: TFLiteModel, images: Any) -> np.ndarray:
    counts = (len(model.inputs), len(model.outputs), len(file.input_shapes))
    if counts != (1, 1, 1):
        raise ValueError("verify: only models with one input and one output can be compared.")
    images = np.asarray(images, model.inputs[0].dtype.as_numpy_dtype)
    expected, (in_file,) = tuple(model.inputs[0].shape[1:]), file.input_shapes
    for owner, shape in (("the model", expected), ("the file", in_file[1:])):
        if images.shape[1:] != shape:
            raise ValueError(
                f"verify: {owner} takes images of shape (n, {', '.join(map(str, shape))}), and "
                f"these have shape {images.shape}."
            )
    if not len(images):
        raise ValueError("verify: there are no images to compare on.")
    return images


def _kernel(file: TFLiteModel) -> str:
    needs_reference = any(op.misread_padding or op.grouped for op in file.binary_convolutions)
    return "reference" if needs_reference else "indirect"


def _run(content: bytes, images: np.ndarray, kernel: str, num_threads: int) -> np.ndarray:
    interpreter = lce.testing.Interpreter(
        content,
        num_threads=num_threads,
        use_reference_bconv=kernel == "reference",
        use_indirect_bgemm=kernel == "indirect",
    )
    return np.asarray(interpreter.predict(images), np.float32)
