"""What `import siman_larq` costs beyond TensorFlow and Larq: it is meant to stay below 0.3 s.

Each import is in a process of its own. Other work on the machine adds to both.
"""

import os
import statistics
import subprocess
import sys
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import click
import tensorflow as tf

import siman_larq  # noqa: F401  (the processes below then use the same Keras)

ROOT = Path(__file__).resolve().parents[1]
PROGRAM = """
import time
start = time.perf_counter()
import tensorflow, larq
between = time.perf_counter()
import siman_larq
print(between - start, time.perf_counter() - between)
"""


@click.command()
@click.option("--rounds", default=10, show_default=True, help="Processes.")
def main(rounds: int) -> None:
    """Prints the seconds of both imports: median and quartiles."""
    rows = []
    for _ in range(rounds + 1):
        command = [sys.executable, "-c", PROGRAM]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
        rows.append([float(seconds) for seconds in done.stdout.split()])
    print(f"TensorFlow {tf.__version__}, Python {sys.version.split()[0]}, {rounds} processes")
    # The first reads files that later ones find in memory.
    columns = zip(*rows[1:], strict=True)
    for name, seconds in zip(("tensorflow and larq", "siman_larq"), columns, strict=True):
        low, middle, high = statistics.quantiles(seconds, n=4)
        print(f"{name:<20} {middle:.2f} s ({low:.2f}-{high:.2f})")


if __name__ == "__main__":
    main()
