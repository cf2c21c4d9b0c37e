"""Runs TFLite files, in LCE's interpreter or in siman-runtime's, step by step."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from siman_larq._optional import require
from siman_larq.conversion.errors import ConversionError
from siman_larq.conversion.flatbuffer import TFLiteFile, with_input_shapes
from siman_larq.conversion.process import run_file

__all__ = ["Runner", "runner"]


@dataclass(frozen=True)
class Runner:
    """What runs a file.

    # Attributes
        run: A function from inputs in the file's order, of a multiple of the images it takes in
            one step, to its outputs in the file's order.
        kernel: The name of its kernel.
        traced: The bits that went into ops in the last run, by the number of each.
    """

    run: Callable[[list[np.ndarray]], list[np.ndarray]]
    kernel: str
    traced: Callable[[], dict[int, np.ndarray]] = dict


def runner(
    content: bytes, first: list[np.ndarray], num_threads: int, runtime: str, trace: bool = False
) -> Runner:
    """Makes what runs a file.

    # Arguments
        content: The file.
        first: The first inputs for it, as many images as it takes in one step.
        num_threads: Threads.
        runtime: `"lce"` or `"siman"`.
        trace: Whether it tells the bits that go into ops; `"siman"` only.

    # Raises
        ImportError: if the runtime is not installed.
        ValueError: for a file that does not run there.
    """
    shaped = with_input_shapes(content, [value.shape for value in first])
    if runtime == "siman":
        return _siman(shaped, num_threads, trace)
    return _lce(shaped, first, num_threads)


def _lce(content: bytes, first: list[np.ndarray], num_threads: int) -> Runner:
    lce = require(
        "larq_compute_engine.tflite.python.interpreter", extra="convert", purpose="verify"
    )
    is_reference = TFLiteFile(content).needs_reference_kernel
    try:
        # In a process of its own, since there are files that LCE's interpreter dies of.
        run_file(content, [value[np.newaxis] for value in first], is_reference)
    except ConversionError as error:
        cure = "runtime='siman' may run it"
        if is_reference:
            cure = (
                "only its reference kernel is right for zero padding on maps smaller than the "
                "kernel and for groups, and that wants an even number of input channels. Convert "
                "with small_maps='rewrite', or use runtime='siman'"
            )
        raise ValueError(
            f"verify: LCE's interpreter does not run this file: {cure}. ({error})"
        ) from error
    interpreter = lce.Interpreter(
        content,
        num_threads=num_threads,
        use_reference_bconv=is_reference,
        use_indirect_bgemm=not is_reference,
    ).interpreter
    size = len(first[0])

    def run(values: list[np.ndarray]) -> list[np.ndarray]:
        starts = range(0, len(values[0]), size)
        steps = [interpreter.predict([value[n : n + size] for value in values]) for n in starts]
        if len(steps) == 1:
            return [np.array(output) for output in steps[0]]
        return [np.concatenate(parts) for parts in zip(*steps, strict=True)]

    return Runner(run, "LCE reference" if is_reference else "LCE indirect")


def _siman(content: bytes, num_threads: int, trace: bool) -> Runner:
    try:
        import siman_runtime
    except ModuleNotFoundError as error:
        raise ImportError(
            "verify: runtime='siman' needs the package siman-runtime: pip install ./runtime in "
            "siman-larq's repository."
        ) from error
    interpreter = siman_runtime.Interpreter(content, num_threads=num_threads, trace=trace)

    def run(values: list[np.ndarray]) -> list[np.ndarray]:
        outputs = interpreter.predict(values)
        return outputs if isinstance(outputs, list) else [outputs]

    kernel = f"siman-runtime {siman_runtime.kernel_name()}"
    return Runner(run, kernel, lambda: interpreter.traced)
