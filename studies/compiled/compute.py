"""Runs what `export.py` has exported, on whatever JAX finds; needs neither TensorFlow nor Keras.

    python studies/compiled/compute.py bundle rows.jsonl --workers 16

Several workers share a GPU best under NVIDIA's MPS. Rows of runs that were cut off stay in the
file, and `collect.py` leaves them out.
"""

import argparse
import collections
import fcntl
import functools
import importlib.util
import json
import lzma
import multiprocessing
import os
import re
import time
from pathlib import Path
from typing import Any

import numpy as np

_Formatter = argparse.RawDescriptionHelpFormatter
IMAGES = ("train_images", "train_labels", "test_images", "test_labels")
ANALYSIS = Path(__file__).resolve().parents[2] / "siman_larq" / "analysis"


@functools.cache
def module_at(path: Path) -> Any:
    """A module of the package without the package, which imports TensorFlow."""
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def figures_of(about: dict[str, Any], state: list[Any]) -> dict[str, float]:
    """Figures of the codes, as `siman_larq.analysis.CodeLog` gives them."""
    statistics, fits = (module_at(ANALYSIS / f"{name}.py") for name in ("statistics", "fits"))
    rows = []
    for kernel, code in zip(about["kernels"], about["codes"], strict=True):
        weights, bits = (np.asarray(state[i]) for i in (kernel, code))
        weights, bits = (a.reshape(-1, a.shape[-1]) for a in (weights, bits > 0))
        rows.append(
            {
                "entropy": np.nanmean(statistics.entropy(statistics.share_of_ones(bits))),
                "sign_entropy": np.nanmean(
                    statistics.entropy(statistics.share_of_ones(statistics.signs(weights)))
                ),
                "beta": np.nanmedian(fits.fit(weights).beta),
                "angle": np.nanmean(statistics.angle_to_code(weights, bits)),
            }
        )
    return {name: float(np.nanmean([row[name] for row in rows])) for name in rows[0]}


class Program:
    """One epoch, compiled."""

    def __init__(self, folder: Path, name: str) -> None:
        import jax
        import jax.extend
        from jax._src.lib import _jax, xla_client

        jax.config.update("jax_enable_x64", True)
        self._device = jax.devices()[0]
        self._put = lambda a: jax.device_put(a, self._device)
        multiplied = "TF32" if os.environ["NVIDIA_TF32_OVERRIDE"] == "1" else "float32"
        self.machine = f"XLA on {self._device.device_kind}, {multiplied}"
        self.about = json.loads((folder / "programs" / f"{name}.json").read_text())
        program = lzma.decompress((folder / "programs" / f"{name}.hlo.xz").read_bytes())
        module = _jax.mlir.xla_computation_to_mlir_module(xla_client.XlaComputation(program))
        # Plugins take StableHLO alone, which has no copies.
        module = re.sub(
            r"= mhlo\.copy (%\S+) : (tensor<[^>]*>)", r"= stablehlo.reshape \1 : (\2) -> \2", module
        )
        self._program = jax.extend.backend.get_backend().compile_and_load(
            module, xla_client.DeviceList((self._device,)), xla_client.CompileOptions()
        )

    def place(self, arrays: list[np.ndarray]) -> list[Any]:
        return [self._put(a) for a in arrays]

    def epoch(self, images: list[Any], state: list[Any], *scalars: Any) -> list[Any]:
        """Figures, what of the test was right, and the state after an epoch."""
        captured = [
            state[c] if isinstance(c, int) else self._put(np.zeros(c["shape"], c["dtype"]))
            for c in self.about["captured"]
        ]
        results = self._program.execute_sharded([*images, *self.place(list(scalars)), *captured])
        arrays = results.disassemble_into_single_device_arrays()
        return [arrays[i][0] for i in range(2 + len(state))]


def carry_out(
    job: dict[str, Any], programs: dict[str, Program], images: Any, arrays: Any, out: Path
) -> None:
    """Makes a run, and writes a row for each of its epochs."""
    names, held = job["programs"], job["held_out"]
    program = programs[names[0]]
    given = program.place(images_of(job, images))
    state = program.place([arrays[key] for key in job["state"]])
    for epoch, (rate, clip) in enumerate(zip(job["rates"], job["clips"], strict=True)):
        began = time.time()
        scalars = np.int64(job["seed"]), np.int64(epoch), np.float32(rate), np.float32(clip)
        figures, right, *state = programs[names[epoch]].epoch(given, state, *scalars)
        loss, accuracy, val_loss, flips = map(float, np.asarray(figures))
        row = {key: job[key] for key in ("study", "phase", "arm", "seed", "setting", "settings")}
        row |= {
            "epochs": len(names),
            "epoch": epoch,
            "learning_rate": rate,
            "loss": loss,
            "accuracy": accuracy,
            "val_loss": None if held else val_loss,
            "val_accuracy": float(np.asarray(right)[: held or None].mean()),
            "seconds": time.time() - began,
            "machine": program.machine,
        }
        if job["counts_flips"]:
            row |= flips_of(program.about, state, flips)
        is_last = epoch == len(names) - 1
        is_shown = is_last or (epoch + 1) % job["every"] == 0
        if is_shown and names[epoch] == names[-1]:
            row |= figures_of(program.about, state)
        if is_shown and job["keep"]:
            keep(job, state[: program.about["weights"]], out)
        write(out, row)
        if not np.isfinite(loss):
            return


def images_of(job: dict[str, Any], images: Any) -> list[np.ndarray]:
    """The images of a run; held-out ones in the place of the first test images."""
    x, y, test_x, test_y = (images[name] for name in IMAGES)
    held, count = job["held_out"], job["count"]
    if held:
        # As many as the program takes; those that are not held-out ones are not counted.
        test_x = np.concatenate([x[-held:], test_x[held:]])
        test_y = np.concatenate([y[-held:], test_y[held:]])
    return [x[:count], y[:count], test_x, test_y]


def flips_of(about: dict[str, Any], state: list[Any], count: float) -> dict[str, float]:
    """Flips per weight in the epoch, and the share of weights that never flipped."""
    moved = sum(float(np.asarray(state[i]).sum()) for i in about["moved"])
    every = about["binary_weights"]
    return {"flips": count / every, "never_flipped": 1 - moved / every}


def keep(job: dict[str, Any], weights: list[Any], out: Path) -> None:
    """Writes the weights so far beside the rows."""
    name = "-".join(str(job[key]) for key in ("study", "phase", "arm", "seed"))
    path = out.parent / f"weights-{name}.npz"
    partial = path.with_suffix(".partial.npz")
    np.savez_compressed(partial, *(np.asarray(array) for array in weights))
    partial.replace(path)


def write(path: Path, row: dict[str, Any]) -> None:
    """Adds a row, for which workers wait for each other."""
    with open(path, "a+b") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        # A worker that was killed may have left a part of a line, which would spoil this one.
        written = path.read_bytes()
        file.truncate(written.rfind(b"\n") + 1)
        file.write((json.dumps(row) + "\n").encode())


def worker(bundle: Path, out: Path, tasks: Any) -> None:
    pixels, arrays = dict(np.load(bundle / "images.npz")), np.load(bundle / "arrays.npz")
    while (jobs := tasks.get()) is not None:
        began = time.time()
        programs = {name: Program(bundle, name) for name in set(jobs[0]["programs"])}
        print(f"compiled in {time.time() - began:.0f} s, {len(jobs)} runs", flush=True)
        for job in jobs:
            began = time.time()
            carry_out(job, programs, pixels, arrays, out)
            label = " ".join(str(job[k]) for k in ("study", "phase", "arm", "seed", "setting"))
            print(f"{label}: {time.time() - began:.1f} s", flush=True)


def tasks_of(jobs: list[dict[str, Any]], longest: int) -> list[list[dict[str, Any]]]:
    """Runs that share programs, some epochs at a time; the longest tasks first."""
    by_program = collections.defaultdict(list)
    for job in jobs:
        by_program[tuple(sorted(set(job["programs"])))].append(job)
    tasks: list[list[dict[str, Any]]] = []
    for own in by_program.values():
        part: list[dict[str, Any]] = []
        for job in own:
            part.append(job)
            if sum(len(j["rates"]) for j in part) >= longest:
                tasks.append(part)
                part = []
        tasks += [part] if part else []

    def size(task: list[dict[str, Any]]) -> int:
        return sum(len(job["rates"]) * job["count"] for job in task)

    return sorted(tasks, key=size, reverse=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=_Formatter)
    parser.add_argument("bundle", type=Path, help="what export.py has written")
    parser.add_argument("rows", type=Path, help="where rows are added; kept weights go beside it")
    parser.add_argument("--workers", type=int, default=16)
    parser.add_argument("--tf32", action="store_true", help="faster convolutions that round")
    parser.add_argument("--longest", type=int, default=20, help="epochs of a task at least")
    given = parser.parse_args()
    os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
    # Without this NVIDIA's convolutions round what they multiply to 11 bits.
    os.environ["NVIDIA_TF32_OVERRIDE"] = "1" if given.tf32 else "0"
    context = multiprocessing.get_context("spawn")
    queue = context.Queue()
    jobs = json.loads((given.bundle / "jobs.json").read_text())
    for task in [*tasks_of(jobs, given.longest), *[None] * given.workers]:
        queue.put(task)
    workers = [
        context.Process(target=worker, args=(given.bundle, given.rows, queue))
        for _ in range(given.workers)
    ]
    for process in workers:
        process.start()
    for process in workers:
        process.join()


if __name__ == "__main__":
    main()
