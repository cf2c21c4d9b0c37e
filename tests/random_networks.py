"""Random networks, converted and judged; each in a process that may die.

    python tests/random_networks.py --seeds 0-299 --output random-networks.csv

Seeds that stand in the output already are left out, so a run goes on where it ended.
"""

import argparse
import csv
import json
import select
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

COLUMNS = ["seed", "verdict", "detail", "parts"]
_LIMIT = 180  # seconds for a network, before its process is ended


def _seeds(text: str) -> list[int]:
    ranges = [part.split("-") for part in text.split(",")]
    return [seed for ends in ranges for seed in range(int(ends[0]), int(ends[-1]) + 1)]


def _worker() -> None:
    """Judges the seeds that come in, a line of JSON for each."""
    import judging

    for line in sys.stdin:
        seed = int(line)
        row = judging.judged(seed)
        print("RESULT " + json.dumps({"seed": seed, **row}), flush=True)


class _Workers:
    """A process that judges, and the next one when it has died or hangs."""

    def __init__(self) -> None:
        self._process: subprocess.Popen | None = None

    def judged(self, seed: int) -> dict[str, Any]:
        if self._process is None:
            self._process = subprocess.Popen(
                [sys.executable, __file__, "--worker"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                text=True,
            )
        process = self._process
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(f"{seed}\n")
        process.stdin.flush()
        end = time.monotonic() + _LIMIT
        while time.monotonic() < end:
            if not select.select([process.stdout], [], [], 1.0)[0]:
                continue
            line = process.stdout.readline()
            if line.startswith("RESULT "):
                return json.loads(line[7:])
            if not line:
                break
        was_running = process.poll() is None and time.monotonic() >= end
        process.kill()
        code = process.wait()
        self._process = None
        return {
            "seed": seed,
            "verdict": "failure",
            "detail": f"hangs for {_LIMIT} s" if was_running else f"the process ends with {code}",
            "parts": "",
        }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--seeds", type=_seeds, default=_seeds("0-299"), help="such as 0-299,412")
    parser.add_argument("--output", type=Path, default=Path("random-networks.csv"))
    parser.add_argument("--worker", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.worker:
        _worker()
        return
    rows = []
    if arguments.output.exists():
        with arguments.output.open(newline="") as file:
            rows = list(csv.DictReader(file))
    done = {int(row["seed"]) for row in rows}
    workers = _Workers()
    with arguments.output.open("a", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS)
        if not rows:
            writer.writeheader()
        for seed in arguments.seeds:
            if seed in done:
                continue
            row = workers.judged(seed)
            rows.append(row)
            writer.writerow(row)
            file.flush()
            print(f"{seed}: {row['verdict']} {row['detail']}", flush=True)
    print(dict(Counter(row["verdict"] for row in rows)))


if __name__ == "__main__":
    main()
