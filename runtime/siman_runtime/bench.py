"""`siman-bench model.tflite`: how fast a model runs here, and why it is slow if it is."""

import argparse
import importlib.metadata
import platform
import struct
import time
from pathlib import Path
from typing import Any

import numpy as np

from siman_runtime import library
from siman_runtime.commands import add_isolation, isolation, run_command
from siman_runtime.interpreter import Interpreter

__all__ = ["main", "measure", "system"]

_LEAST_RUNS = 20


def _line(path: str, name: str = "") -> str:
    try:
        lines = Path(path).read_text().splitlines()
    except OSError:
        return ""
    if not name:
        return lines[0].strip() if lines else ""
    found = [line.split(":", 1)[1].strip() for line in lines if line.startswith(name)]
    return found[0] if found else ""


def system() -> "dict[str, str]":
    """What decides about speed here."""
    cpu = (
        _line("/proc/device-tree/model").rstrip("\0")
        or _line("/proc/cpuinfo", "model name")
        or _line("/proc/cpuinfo", "Model")
        or _line("/proc/cpuinfo", "Hardware")
        or "unknown"
    )
    governor = _line("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor")
    return {
        "machine": f"{platform.machine()}, {8 * struct.calcsize('P')}-bit Python",
        "processor": cpu,
        "governor": governor or "unknown",
        "kernel": library.kernel_name(),
        "runtime": f"siman-runtime {importlib.metadata.version('siman-runtime')}, "
        f"ai-edge-litert {importlib.metadata.version('ai-edge-litert')}",
    }


def warnings_for(facts: "dict[str, str]") -> "list[str]":
    """Why this machine may be slower than it could be."""
    found = []
    if "64-bit" not in facts["machine"]:
        found.append(
            "this is a 32-bit system, which has no fast kernels: install the 64-bit Raspberry Pi OS"
        )
    if facts["kernel"] == "portable":
        found.append(
            "the portable kernel is in use, several times slower than the others: the processor "
            "has neither NEON (64-bit ARM) nor AVX2, or SIMAN_KERNEL forces it"
        )
    if facts["governor"] not in ("performance", "unknown"):
        found.append(
            f"the governor {facts['governor']} lowers the clock between runs: "
            "echo performance | sudo tee /sys/devices/system/cpu/cpu*/cpufreq/scaling_governor"
        )
    return found


def measure(model: Path, threads: int, seconds: float, size: "tuple[int, ...]" = ()) -> np.ndarray:
    """Milliseconds of each run on random inputs, after some that are not counted.

    # Arguments
        model: Path of the file.
        threads: How many threads.
        seconds: How long.
        size: Height and width of those inputs that may be of any size.

    # Raises
        ValueError: without `size` for such a model, or with another than its own for one that does
            not; otherwise as `Interpreter` and its `predict`.
    """
    interpreter = Interpreter(model, num_threads=threads)
    x = _random_inputs(interpreter, model, size)
    times: list[float] = []
    end = time.perf_counter() + seconds
    while len(times) < _LEAST_RUNS + 3 or time.perf_counter() < end:
        start = time.perf_counter()
        interpreter.predict(x)
        times.append(1000 * (time.perf_counter() - start))
    return np.array(times[3:])


def _random_inputs(interpreter: Interpreter, model: Path, size: "tuple[int, ...]") -> Any:
    """What `predict` takes, always the same."""
    if any(-1 in signature[1:] for signature in interpreter.input_signatures):
        if len(size) != 2:
            raise ValueError(f"{model} takes inputs of any size: give --size HEIGHT WIDTH.")
        pairs = zip(interpreter.input_shapes, interpreter.input_signatures, strict=True)
        interpreter.resize(
            *((s[0], *size, *s[3:]) if -1 in signature[1:] else s for s, signature in pairs)
        )
    elif size and any(shape[1:3] != tuple(size) for shape in interpreter.input_shapes):
        raise ValueError(
            f"--size {size[0]} {size[1]}: {model} takes inputs of {interpreter.input_shapes} "
            "alone; leave --size out."
        )
    rng = np.random.default_rng(0)
    inputs = [
        np.abs(rng.normal(0, 1, shape)).astype(dtype)
        for shape, dtype in zip(interpreter.input_shapes, interpreter.input_types, strict=True)
    ]
    return inputs[0] if len(inputs) == 1 else inputs


def _try(arguments: argparse.Namespace, threads: int) -> None:
    """Raises what is wrong with a file that is not to be run here."""
    for model in filter(None, (arguments.model, arguments.compare)):
        with Interpreter(model, num_threads=threads, **isolation(arguments)) as interpreter:
            interpreter.predict(_random_inputs(interpreter, model, arguments.size))


def _summary(name: str, times: np.ndarray) -> str:
    low, middle, high = np.percentile(times, (25, 50, 75))
    return f"{name:<28} {middle:9.2f} ms  (quartiles {low:.2f}-{high:.2f}, {len(times)} runs)"


def _print_ops(model: Path, seconds: float, size: "tuple[int, ...]") -> None:
    library.profile(True)
    times = measure(model, 1, seconds, size)
    rows = library.profiled()
    library.profile(False)
    runs = len(times) + 3
    print(f"\ntime per op, one thread, mean of {runs} runs")
    for _, op, dims, spent in rows:
        print(f"{op:<16} {dims:<18} {1000 * spent / runs:8.3f} ms")
    ours = sum(spent for *_, spent in rows) * 1000 / runs
    print(f"{'all others':<16} {'float ops':<18} {max(times.mean() - ours, 0):8.3f} ms")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="siman-bench", description="Times a model.")
    parser.add_argument("model", type=Path)
    parser.add_argument("--threads", default="1", help="numbers of threads, as 1,2,4")
    parser.add_argument("--compare", type=Path, help="another file, as the network in float32")
    parser.add_argument("--seconds", type=float, default=3.0, help="for each measurement (3)")
    parser.add_argument(
        "--size",
        type=int,
        nargs=2,
        default=(),
        metavar=("HEIGHT", "WIDTH"),
        help="of the inputs that may be of any size",
    )
    told = "time only what first ran in a process of its own, for files that you do not trust"
    add_isolation(parser, told)
    return parser


def _bench(arguments: argparse.Namespace) -> None:
    try:
        threads = [int(part) for part in arguments.threads.split(",")]
    except ValueError:
        raise ValueError(f"--threads {arguments.threads}: numbers as in 1,2,4.") from None
    if not 0 <= arguments.seconds < 3600:
        raise ValueError(f"--seconds {arguments.seconds}: from 0 to 3600 is allowed.")
    is_isolated = isolation(arguments)["isolated"]
    facts = system()
    for name, value in facts.items():
        print(f"{name:<10} {value}")
    for warning in warnings_for(facts):
        print(f"WARNING: {warning}")
    print()
    if is_isolated:
        for number in threads:
            _try(arguments, number)
    for number in threads:
        times = measure(arguments.model, number, arguments.seconds, arguments.size)
        print(_summary(f"{arguments.model.name}, {number} threads", times))
        if arguments.compare is not None:
            other = measure(arguments.compare, number, arguments.seconds, arguments.size)
            print(_summary(f"{arguments.compare.name}, {number} threads", other))
            print(f"ratio {np.median(times) / np.median(other):.3f}")
    _print_ops(arguments.model, arguments.seconds, arguments.size)


def main(arguments: "list[str] | None" = None) -> None:
    """The command `siman-bench`."""
    run_command(_parser(), _bench, arguments)


if __name__ == "__main__":
    main()
