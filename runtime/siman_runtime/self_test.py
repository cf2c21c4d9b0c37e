"""Whether the ai-edge-litert that is installed runs siman-runtime's ops: a small model, and what it
must give. The delegate knows the inside of the runtime, which a new release may change."""

import os
import subprocess
from pathlib import Path

import numpy as np

from siman_runtime.process import command, death

__all__ = ["fault", "fault_apart"]

_MODEL = Path(__file__).with_name("self_test.tflite")  # tests/test_self_test.py makes it
_SHAPE = (1, 2, 2, 32)
_EXPECTED = [[0.0, 9.75, -3.75, 6.25], [15, -9, -31, 17]]
_SECONDS = 60


def fault(library: "str | os.PathLike") -> str:
    """What is wrong with the model's outputs, nothing if they are right.

    # Arguments
        library: Path of the native library.
    """
    try:
        from ai_edge_litert.interpreter import Interpreter, load_delegate

        interpreter = Interpreter(
            model_content=_MODEL.read_bytes(),
            experimental_delegates=[load_delegate(str(library))],
            num_threads=1,
        )
        interpreter.allocate_tensors()
        interpreter.set_tensor(interpreter.get_input_details()[0]["index"], _sample())
        interpreter.invoke()
        details = interpreter.get_output_details()
        outputs = [interpreter.get_tensor(entry["index"]).reshape(-1).tolist() for entry in details]
    except Exception as error:  # of any kind: the interface may have changed as well
        return " ".join(f"{type(error).__name__}: {error}".split())
    if outputs != _EXPECTED:
        return f"a test model gives {outputs} and not {_EXPECTED}"
    return ""


def _sample() -> np.ndarray:
    count = np.arange(np.prod(_SHAPE), dtype=np.float32)
    return (count * 37 % 11 - 5).reshape(_SHAPE)


def fault_apart(library: "str | os.PathLike") -> str:
    """The same in a process of its own: where structures have changed it may crash."""
    program = "from siman_runtime import self_test; print(self_test.fault(sys.argv[1]))"
    started = command(program, os.fspath(library))
    try:
        done = subprocess.run(started, capture_output=True, text=True, timeout=_SECONDS)
    except subprocess.TimeoutExpired:
        return f"a test model runs for more than {_SECONDS} s"
    except OSError as error:
        return f"a test model cannot be run in a process of its own: {error}"
    if done.returncode < 0:
        return f"the process of a test model {death(done.returncode)}"
    if done.returncode:
        return " ".join(done.stderr.split()[-20:])
    return done.stdout.strip()
