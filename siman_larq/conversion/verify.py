"""Holds a TFLite file against the model it was made from."""

import os
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import tensorflow as tf
from larq_compute_engine.tflite.python.interpreter import Interpreter

from siman_larq.conversion.binary import binary_layers
from siman_larq.conversion.flatbuffer import has_small_maps, operators
from siman_larq.conversion.packing import packed_layers
from siman_larq.conversion.size import float32_bytes, theoretical_bytes

__all__ = ["Report", "verify"]


@dataclass(frozen=True)
class Report:
    """What `verify` found; `str()` gives a table.

    # Attributes
        agreement: Share of images with the same top-1.
        max_abs_difference: Largest difference between outputs.
        packed: Names of the binary layers that are 1-bit ops in the file.
        left_float: Names of the binary layers that are not.
        size_bytes: Size of the file.
        theoretical_bytes: The fewest bytes that the weights can take in the file, binary kernels
            at 1 bit and all others at 32.
        float32_bytes: The same with all weights at 32 bits.
        images: Number of images compared.
        kernel: What ran: `"LCE indirect"`, `"LCE reference"` where only that is right, or
            `"siman-runtime"` with its instruction set.
        keras_outputs: Outputs of the model.
        tflite_outputs: Outputs of the file.
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
            ("images compared", f"{self.images:,} ({self.kernel} kernel)"),
            ("agreement of top-1", f"{self.agreement:.2%}"),
            ("largest difference of outputs", f"{self.max_abs_difference:.3g}"),
            ("packed binary layers", f"{len(self.packed)} of {binary}"),
            ("left float", ", ".join(self.left_float) or "none"),
            ("file size", f"{self.size_bytes:,} bytes"),
            ("1-bit theory", f"{self.theoretical_bytes:,} bytes"),
            ("float32 weights", f"{self.float32_bytes:,} bytes"),
        ]
        width = max(len(name) for name, _ in rows)
        return "\n".join(f"{name:<{width}}  {value}" for name, value in rows)


def verify(
    model: tf.keras.Model,
    tflite: bytes | str | os.PathLike,
    images: np.ndarray,
    batch_size: int = 64,
    num_threads: int = 1,
    runtime: str = "lce",
) -> Report:
    """Runs a model and its TFLite file, in LCE's own interpreter, on the same images.

    !!! example
        ```python
        report = siman_larq.verify(model, tflite, images[:1000])
        print(report)
        ```

    # Arguments
        model: The Keras model, with one input and one output.
        tflite: The file's bytes, or its path.
        images: Inputs as the model takes them, shape `(images, ...)`.
        batch_size: Images per step of the Keras model.
        num_threads: Threads of the interpreter.
        runtime: `"lce"`, or `"siman"` for the package siman-runtime, which gives the same outputs
            many times faster, and is right where LCE is not.

    # Returns
        A `Report`.

    # Raises
        ImportError: for `"siman"` if siman-runtime is not installed.
        FileNotFoundError: for a path without a file.
        ValueError: for a damaged file, no images, images of another shape than the model's, or a
            file that none of LCE's kernels computes rightly.
    """
    content = tflite if isinstance(tflite, bytes) else Path(tflite).read_bytes()
    operators(content)  # A damaged file would end the process in the interpreter.
    images = np.asarray(images, np.float32)
    expected = model.input_shape[1:]
    if len(images) == 0 or images.shape[1:] != expected:
        raise ValueError(
            f"verify: images of shape {images.shape} cannot be compared; model {model.name!r} "
            f"takes (images, {', '.join(map(str, expected))}), and at least one."
        )
    reference = has_small_maps(content) or any(
        getattr(layer, "groups", 1) != 1 for layer in binary_layers(model)
    )
    if runtime not in ("lce", "siman"):
        raise ValueError(f"verify: runtime={runtime!r}; 'lce' and 'siman' are known.")
    if runtime == "siman":
        theirs, kernel = _run_siman(content, images, num_threads)
    else:
        theirs = _run(content, images, num_threads, reference)
        kernel = "LCE reference" if reference else "LCE indirect"
    ours = np.asarray(model.predict(images, batch_size=batch_size, verbose=0), np.float32)
    packed, left = packed_layers(model, content)
    return Report(
        agreement=float(np.mean(_top1(ours) == _top1(theirs))),
        max_abs_difference=float(np.max(np.abs(ours - theirs))),
        packed=[layer.name for layer in packed],
        left_float=[layer.name for layer in left],
        size_bytes=len(content),
        theoretical_bytes=theoretical_bytes(model, content),
        float32_bytes=float32_bytes(model),
        images=len(images),
        kernel=kernel,
        keras_outputs=ours,
        tflite_outputs=theirs,
    )


def _run(content: bytes, images: np.ndarray, num_threads: int, reference: bool) -> np.ndarray:
    try:
        interpreter = Interpreter(
            content,
            num_threads=num_threads,
            use_reference_bconv=reference,
            use_indirect_bgemm=not reference,
        )
        return np.asarray(interpreter.predict(images), np.float32)
    except RuntimeError as error:
        if not reference:
            raise
        raise ValueError(
            "verify: only LCE's reference kernel is right for this file (zero padding on maps "
            "smaller than the kernel, or groups), and it does not run it: zero padding needs an "
            "even number of input channels there. Convert with small_maps='rewrite', which every "
            f"kernel computes rightly. ({error})"
        ) from error


def _run_siman(content: bytes, images: np.ndarray, num_threads: int) -> tuple[np.ndarray, str]:
    try:
        import siman_runtime
    except ModuleNotFoundError as error:
        raise ImportError(
            "verify: runtime='siman' needs the package siman-runtime: pip install ./runtime in "
            "siman-larq's repository."
        ) from error
    interpreter = siman_runtime.Interpreter(content, num_threads=num_threads)
    outputs = np.asarray(interpreter.predict(images), np.float32)
    return outputs, f"siman-runtime {siman_runtime.kernel_name()}"


def _top1(outputs: np.ndarray) -> np.ndarray:
    return np.argmax(outputs.reshape(len(outputs), -1), axis=1)
