"""Larq Compute Engine in a process of its own, which may die, hang or fill the memory."""

import json
import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from siman_larq._optional import require
from siman_larq.conversion.errors import ConversionError
from siman_larq.conversion.freeze import Graph

__all__ = ["LceError", "convert_graph", "run_file"]

_WORKER = Path(__file__).with_name("_lce_worker.py")
_RUN_LIMIT = 600.0


class LceError(ConversionError):
    """LCE failed; `str()` says how, with its last words."""


def convert_graph(graph: Graph, time_limit: float) -> bytes:
    """The TFLite file of a graph.

    # Arguments
        graph: The graph.
        time_limit: Seconds after which LCE is stopped.

    # Raises
        LceError: when LCE fails, dies, takes too long or too much memory.
    """
    nodes = {node.name: node for node in graph.definition.node}
    shapes = [tensor.shape for tensor in graph.function.inputs]
    request = {
        "task": "convert",
        "inputs": graph.names,
        "dtypes": [str(nodes[name].attr["dtype"]).split()[-1] for name in graph.names],
        "shapes": [[-1 if n is None else n for n in shape] for shape in shapes],
        "outputs": graph.outputs,
        "is_quantized": graph.is_quantized,
    }
    with tempfile.TemporaryDirectory(prefix="siman-larq-") as name:
        folder = Path(name)
        (folder / "graph.pb").write_bytes(graph.definition.SerializeToString())
        _carry_out(folder, request, "mlir/_tf_tfl_flatbuffer.*", time_limit)
        return (folder / "model.tflite").read_bytes()


def run_file(
    tflite: bytes, inputs: list[np.ndarray], is_reference: bool = False
) -> list[np.ndarray]:
    """Loads a file in LCE's interpreter and runs it.

    # Arguments
        tflite: The file.
        inputs: For each input a stack of what the file takes in one step; may be empty stacks.
        is_reference: Whether LCE's reference kernel runs, in place of the indirect one.

    # Returns
        For each output a stack of what the file gave.

    # Raises
        LceError: when the file does not load or run.
    """
    request = {"task": "run", "is_reference": is_reference}
    with tempfile.TemporaryDirectory(prefix="siman-larq-") as name:
        folder = Path(name)
        (folder / "model.tflite").write_bytes(tflite)
        np.savez(folder / "inputs.npz", **{f"input_{n}": x for n, x in enumerate(inputs)})
        _carry_out(folder, request, "tflite/python/interpreter_wrapper_lite.*", _RUN_LIMIT)
        with np.load(folder / "outputs.npz") as outputs:
            return [outputs[f"output_{number}"] for number in range(len(outputs.files))]


def _carry_out(folder: Path, request: dict[str, Any], library: str, time_limit: float) -> None:
    lce = require("larq_compute_engine", extra="convert", purpose="Conversion")
    (path,) = Path(str(lce.__file__)).parent.glob(library)
    memory = _memory()
    request |= {"library": str(path), "memory_limit": memory}
    (folder / "request.json").write_text(json.dumps(request))
    with open(folder / "log", "w+b") as log:
        command = [sys.executable, "-I", str(_WORKER), str(folder)]
        try:
            done = subprocess.run(command, stdout=log, stderr=log, timeout=time_limit, check=False)
        except subprocess.TimeoutExpired:
            raise LceError(
                f"Larq Compute Engine was stopped after {time_limit:g} s (time_limit)."
            ) from None
        log.seek(0)
        said = log.read().decode(errors="replace")
    if done.returncode != 0:
        raise LceError(
            f"Larq Compute Engine died of {_death(done.returncode)}, within a limit of "
            f"{memory / 2**30:.0f} GiB of memory{_last_words(said)}."
        )
    error = json.loads((folder / "reply.json").read_text())["error"]
    if error:
        raise LceError(f"Larq Compute Engine failed: {_message(error)}{_last_words(said)}.")


def _message(error: str) -> str:
    # LCE's checks begin with the place in its source.
    _, _, condition = error.rpartition("the following was false: ")
    said = " ".join((condition or error).split())
    return said[:500].rstrip(".")


def _memory() -> int:
    """All the memory of this machine, in bytes."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):
        return 8 * 2**30


def _death(code: int) -> str:
    if code >= 0:
        return f"exit code {code}"
    try:
        return signal.Signals(-code).name
    except ValueError:
        return f"signal {-code}"


def _last_words(said: str) -> str:
    lines = [line.strip() for line in said.splitlines() if "rror" in line or "ailed" in line]
    return f" ({lines[-1][:300].removeprefix('ERROR: ').rstrip('.')})" if lines else ""
