"""Kills trainings with SIGKILL at random moments, resumes them, compares them with an unbroken one.

    nice -n 19 python tools/kills.py --output kills --kills 1000

A trial kills one run some times, after a random time or a random change in its folder, and then
lets it end. Its weights must be equal bit for bit, its history, its file for TFLite and the names
of its files too. One row for each trial goes into kills.csv; started again, the tool goes on
counting. What went wrong is kept beside it.
"""

import contextlib
import csv
import json
import os
import random
import shutil
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
os.environ |= {"TF_CPP_MIN_LOG_LEVEL": "2", "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": "-1"}

import click
import larq_compute_engine  # noqa: F401  Imported once, not by every run.
import shallow
import tensorflow as tf
from version import digest, package

from siman_larq import models
from siman_larq.training import Recipe, create

RECIPE = Recipe(
    dataset="fashion_mnist_mini",
    epochs=4,
    warmup_epochs=0,
    batch_size=16,
    train_examples=48,
    test_examples=16,
    learning_rate=0.02,
)
KILLS = (3, 10)
# Of what an unbroken run takes; one that goes on takes less, and is to be killed all the same.
PART = 0.7
COLUMNS = ("trial", "kills", "moments", "seconds", "result")


def start(folder: Path) -> int:
    """A process that trains in a folder, or goes on there; a fork, so that nothing is imported."""
    process = os.fork()
    if process:
        return process
    status = 1
    try:
        log = os.open(folder.with_suffix(".log"), os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(log, 1)
        os.dup2(log, 2)
        tf.config.threading.set_intra_op_parallelism_threads(1)
        tf.config.threading.set_inter_op_parallelism_threads(1)
        models.resnet20 = shallow.network
        create(RECIPE, folder.parent, folder).carry_out()
        folder.with_suffix(".json").write_text(json.dumps(fingerprint(folder), indent=2))
        status = 0
    except BaseException as error:
        print(f"{type(error).__name__}: {error}", flush=True)
    finally:
        sys.stdout.flush()
        os._exit(status)


def fingerprint(folder: Path) -> dict[str, str]:
    """What must be equal: hashes of what a run gives, and the names of its files."""
    names = [path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()]
    made = {name: "" for name in names if not name.startswith("tensorboard/")}
    for name in ("model.tflite", "recipe.json", "input.json"):
        made[name] = digest((folder / name).read_bytes())
    with open(folder / "history.csv", newline="") as file:
        rows = [{**row, "seconds": ""} for row in csv.DictReader(file)]
    made["history.csv"] = digest(json.dumps(rows).encode())
    reader = tf.train.load_checkpoint(str(folder / "checkpoints"))
    for name in reader.get_variable_to_shape_map():
        if name.startswith(("model/", "optimizer/", "epochs_done/")):
            made[name] = digest(reader.get_tensor(name).tobytes())
    return made | {f"empty: {name}": "" for name in names if not (folder / name).stat().st_size}


def changes(folder: Path, process: int) -> Iterator[None]:
    """One item for each change in a run folder seen while a process lives."""
    last = None
    while not ended(process):
        seen = []
        for part in (folder, folder / "checkpoints"):
            with contextlib.suppress(FileNotFoundError):
                seen.append(sorted((entry.name, entry.inode()) for entry in os.scandir(part)))
        if seen != last:
            last = seen
            yield
        time.sleep(0.0005)


def cpu_seconds(process: int) -> float:
    """What a process has used; other work on the machine does not change it."""
    user, system = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[11:13]
    return (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")


def ended(process: int) -> bool:
    return os.waitid(os.P_PID, process, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None


def kill(process: int, folder: Path, chance: random.Random, reference: dict) -> str | None:
    """Kills a run at a random moment, and tells when; `None` if it had ended before."""
    if chance.random() < 0.5:
        wanted = chance.uniform(0, PART * reference["seconds"])
        while not ended(process) and cpu_seconds(process) < wanted:
            time.sleep(chance.uniform(0, 0.02))
    else:
        wanted = chance.randint(1, int(PART * reference["changes"]))
        for number, _ in enumerate(changes(folder, process), start=1):
            if number == wanted:
                break
    moment = f"{cpu_seconds(process):.2f}"
    os.kill(process, signal.SIGKILL)
    _, status = os.waitpid(process, 0)
    return moment if os.WIFSIGNALED(status) else None


def trial(number: int, output: Path, reference: dict) -> dict[str, object]:
    """Kills one run some times; returns a row."""
    chance = random.Random(number)
    began = time.monotonic()
    folder = output / f"trial-{number}" / "run"
    shutil.rmtree(folder.parent, ignore_errors=True)
    folder.parent.mkdir()
    moments = [
        moment
        for _ in range(chance.randint(*KILLS))
        if (moment := kill(start(folder), folder, chance, reference))
    ]
    status = os.waitstatus_to_exitcode(os.waitpid(start(folder), 0)[1])
    result = "equal"
    if status or not folder.with_suffix(".json").exists():
        result = f"ended with status {status}: " + folder.with_suffix(".log").read_text()[-300:]
    else:
        made = json.loads(folder.with_suffix(".json").read_text())
        names = made.keys() | reference["made"].keys()
        if other := sorted(n for n in names if made.get(n) != reference["made"].get(n)):
            result = "differs: " + ", ".join(other[:5])
    if result == "equal":
        shutil.rmtree(folder.parent)
    seconds = f"{time.monotonic() - began:.1f}"
    values = (number, len(moments), " ".join(moments), seconds, result)
    return dict(zip(COLUMNS, values, strict=True))


def unbroken(output: Path) -> dict:
    """What the run gives when nobody kills it; kept in reference.json."""
    kept = output / "reference.json"
    if kept.exists():
        reference = json.loads(kept.read_text())
        if reference["package"] != package():
            raise click.ClickException(f"{kept} is of another version; give another --output.")
        return reference
    folder = output / "reference" / "run"
    shutil.rmtree(folder.parent, ignore_errors=True)
    folder.parent.mkdir(parents=True)
    process = start(folder)
    count = sum(1 for _ in changes(folder, process))
    seconds = cpu_seconds(process)
    if os.waitpid(process, 0)[1]:
        raise click.ClickException(folder.with_suffix(".log").read_text()[-2000:])
    made = json.loads(folder.with_suffix(".json").read_text())
    reference = {"package": package(), "seconds": seconds, "changes": count, "made": made}
    kept.write_text(json.dumps(reference, indent=2))
    return reference


@click.command(help=__doc__.split("\n")[0])
@click.option("--output", type=click.Path(path_type=Path), default=Path("kills"), show_default=True)
@click.option("--kills", type=int, default=1000, show_default=True, help="When to stop.")
def main(output: Path, kills: int) -> None:
    output = output.resolve()
    output.mkdir(parents=True, exist_ok=True)
    reference = unbroken(output)
    table = output / "kills.csv"
    if not table.exists():
        table.write_text(",".join(COLUMNS) + "\n")
    with open(table, "r+", newline="") as file:
        rows = list(csv.DictReader(file))
        done = sum(int(row["kills"]) for row in rows)
        bad = sum(row["result"] != "equal" for row in rows)
        number = max((int(row["trial"]) for row in rows), default=0)
        writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
        while done < kills:
            number += 1
            row = trial(number, output, reference)
            writer.writerow(row)
            file.flush()
            done += int(str(row["kills"]))
            bad += row["result"] != "equal"
            click.echo(f"{done} kills in {number} trials, {bad} bad; last: {row}")
    sys.exit(bad > 0)


if __name__ == "__main__":
    main()
