"""Runs LCE's converter or interpreter in a process of its own, without TensorFlow.

Called with a folder that holds `request.json`; leaves `reply.json` there, or dies.
"""

import importlib.util
import json
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np


def main(folder: Path) -> None:
    request = json.loads((folder / "request.json").read_text())
    _limit_memory(request["memory_limit"])
    library = _load(request["library"])
    try:
        {"convert": _convert, "run": _run}[request["task"]](folder, request, library)
        reply: dict[str, Any] = {"error": None}
    except Exception as error:
        reply = {"error": f"{type(error).__name__}: {error}"}
    (folder / "reply.json").write_text(json.dumps(reply))


def _limit_memory(limit: int) -> None:
    try:
        import resource

        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    except (ImportError, ValueError, OSError):
        pass  # Not to be had on this system.


def _load(path: str) -> ModuleType:
    # Past its package, which would import TensorFlow: seconds, for nothing.
    name = Path(path).name.partition(".")[0]
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _convert(folder: Path, request: dict[str, Any], library: ModuleType) -> None:
    tflite = library.convert_graphdef_to_tflite_flatbuffer(
        (folder / "graph.pb").read_bytes(),
        request["inputs"],
        request["dtypes"],
        request["shapes"],
        request["outputs"],
        request["is_quantized"],
        "arm",
        None,
    )
    (folder / "model.tflite").write_bytes(tflite)


def _run(folder: Path, request: dict[str, Any], library: ModuleType) -> None:
    content = (folder / "model.tflite").read_bytes()
    is_reference = request["is_reference"]
    interpreter = library.LiteInterpreter(content, 1, is_reference, not is_reference, False)
    with np.load(folder / "inputs.npz") as stored:
        inputs = [stored[f"input_{number}"] for number in range(len(stored.files))]
    steps = []
    for step in range(len(inputs[0]) if inputs else 0):
        steps.append(interpreter.predict([value[step] for value in inputs]))
    outputs = {
        f"output_{number}": np.stack([step[number] for step in steps])
        for number in range(len(steps[0]) if steps else 0)
    }
    np.savez(folder / "outputs.npz", **outputs)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
