"""Gives damaged and hostile models to siman-runtime: each must raise an error or run.

Usage: fuzz.py [models] [seed]. Models run in a process of their own, which is started again when it
dies, hangs or computes something else; where only a filter is large, little time and memory may be
taken. Then this program prints how to make the model and exits with 1.

With sanitizers: `make sanitize` builds the library with AddressSanitizer and UBSan and runs this.
"""

import os
import resource
import subprocess
import sys
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from fuzz_models import hostile_model, large_model, seeds
from tflite_models import Convolution

import siman_runtime
from siman_runtime.errors import ModelError

HANG_SECONDS = 60
# Of one model with small images, sanitizers included.
COST_SECONDS = 10.0
COST_MEBIBYTES = 500
_TOLD = ("ERROR: ", "runtime error", "#0", "AssertionError")
_SHARED = 40  # one of so many is run by several threads, and by a child of the process


def _samples(interpreter: siman_runtime.Interpreter, seed: int) -> "list[np.ndarray]":
    rng = np.random.default_rng(seed)
    return [
        rng.integers(-1, 2, shape).astype(dtype)
        for shape, dtype in zip(interpreter.input_shapes, interpreter.input_types, strict=True)
    ]


def _equal(one, other) -> bool:
    pairs = zip(np.atleast_1d(one), np.atleast_1d(other), strict=True)
    return all(np.array_equal(a, b, equal_nan=a.dtype.kind == "f") for a, b in pairs)


def _share(interpreter: siman_runtime.Interpreter, content: bytes) -> None:
    """Raises `AssertionError` if results change where threads share an interpreter or a delegate,
    or in a forked child."""
    from ai_edge_litert.interpreter import Interpreter as LiteRt

    x = _samples(interpreter, 1)
    expected = interpreter.predict(x)
    shared = siman_runtime.delegate()

    def run(_) -> bool:
        own = LiteRt(model_content=content, experimental_delegates=[shared], num_threads=3)
        own.allocate_tensors()
        for details, value in zip(own.get_input_details(), x, strict=True):
            own.set_tensor(details["index"], value)
        for _ in range(20):
            own.invoke()
        outputs = [own.get_tensor(details["index"]) for details in own.get_output_details()]
        return _equal(outputs if len(outputs) > 1 else outputs[0], expected)

    with ThreadPoolExecutor(3) as pool:
        assert all(pool.map(run, range(3))), "a shared delegate changes results"
        results = list(pool.map(interpreter.predict, [x] * 6))
    assert all(_equal(y, expected) for y in results), "threads change results"
    child = os.fork()
    if child == 0:
        is_equal = _equal(interpreter.predict(x), expected)
        del interpreter
        os._exit(not is_equal)
    assert os.waitpid(child, 0)[1] == 0, "a forked child differs or crashed"


def _run(content: bytes, is_shared: bool) -> None:
    interpreter = siman_runtime.Interpreter(content, num_threads=3 if is_shared else 1)
    shapes = [*interpreter.input_shapes, *interpreter.output_shapes]
    size = sum(int(np.prod(shape)) for shape in shapes)
    if size >= 2**22 or not interpreter.input_shapes:
        return
    interpreter.predict(_samples(interpreter, 0))
    if is_shared:
        _share(interpreter, content)


def _run_large(op: Convolution) -> None:
    """Raises `AssertionError` for wrong results, more time or memory than a file may take, or if it
    is refused."""
    held, start = _peak(), time.process_time()
    try:
        interpreter = siman_runtime.Interpreter(op.model())
    except ModelError as error:
        raise AssertionError(f"refused: {error}") from error
    spent, taken = time.process_time() - start, _peak() - held
    assert spent < COST_SECONDS, f"{spent:.1f} s to make ready"
    assert taken < COST_MEBIBYTES, f"{taken} MiB to make ready"
    taps = op.kernel[0] * op.kernel[1]
    if taps < 2**10 and taps * op.height * op.width < 2**16:
        x = op.sample()
        assert _equal(interpreter.predict(x), op.expected(x)), "wrong results"


def _peak() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024


def work(seed: int, first: int, last: int) -> None:
    """Runs models and tells what became of each, on standard output."""
    originals = seeds()
    for index in range(first, last):
        print("start", index, flush=True)
        try:
            if index % 10 == 9:
                _run_large(large_model(seed, index))
            else:
                _run(hostile_model(seed, index, originals), is_shared=index % _SHARED == 0)
            print("ran", flush=True)
        except (ModelError, ValueError, TypeError) as error:
            print("raised", type(error).__name__, flush=True)


def main() -> None:
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 500
    seed = int(sys.argv[2]) if len(sys.argv) > 2 else 0
    outcomes: Counter = Counter()
    failures = []
    following, start = 0, time.monotonic()
    while following < count:
        command = [sys.executable, __file__, "--work", str(seed), str(following), str(count)]
        process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, errors="replace"
        )
        last = ""
        errors: list[str] = []
        reader = threading.Thread(
            target=lambda p=process, e=errors: e.extend(p.stderr), daemon=True
        )
        reader.start()
        watch = threading.Timer(HANG_SECONDS, process.kill)
        for line in process.stdout:
            watch.cancel()
            watch = threading.Timer(HANG_SECONDS, process.kill)
            watch.start()
            last = line.strip()
            if last.startswith("start"):
                following = int(last.split()[1]) + 1
            else:
                outcomes[last] += 1
        watch.cancel()
        code = process.wait()
        reader.join()
        if code != 0:
            report = [e for e in errors if any(part in e for part in _TOLD)][-3:]
            failures.append(f"model {following - 1} of seed {seed}: exit {code}: {''.join(report)}")
            print(failures[-1], flush=True)
    told = ", ".join(f"{n} {outcome}" for outcome, n in outcomes.most_common())
    spent = time.monotonic() - start
    print(
        f"{count} models in {spent:.0f} s ({siman_runtime.kernel_name()}): {told}; "
        f"{len(failures)} failed"
    )
    sys.exit(bool(failures))


if __name__ == "__main__":
    if sys.argv[1:2] == ["--work"]:
        work(*map(int, sys.argv[2:5]))
        os._exit(0)
    main()
