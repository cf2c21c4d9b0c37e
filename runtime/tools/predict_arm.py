"""Predicts binary convolutions on Raspberry Pi 4 and 5 from the hot loops' instructions.

Nothing runs: `llvm-mca` (Debian: apt-get install llvm) simulates the loop with all data in the
first cache, and without what surrounds it (the widening of counts, too, which dot products save).
Compiled as by count_instructions.py: CXX names another compiler.
"""

import re
import shutil
import subprocess
import sys

from count_instructions import assembly, hot_loop

# LLVM has no model of its own for the Pi 5's Cortex-A76; Neoverse N1 is the same core for servers.
BOARDS = {
    "Raspberry Pi 4": ("cortex-a72", 1.5, "kernel_neon"),
    "Raspberry Pi 5": ("neoverse-n1", 2.4, "kernel_neon"),
    "Raspberry Pi 5, dot products": ("neoverse-n1", 2.4, "kernel_neon_dot"),
}
ITERATIONS = 1000
BITS = 56 * 56 * 64 * 64 * 9


def cycles(body: "list[str]", processor: str) -> float:
    """Of one turn of the loop."""
    command = ["llvm-mca", "-mtriple=aarch64", f"-mcpu={processor}", f"-iterations={ITERATIONS}"]
    # A branch back is as good as taken; its label is not in the text.
    text = "\n".join(line for line in body if not re.match(r"(b|cb|tb)\S*\s+.*\.L|b\.", line))
    done = subprocess.run(command, input=text, capture_output=True, text=True, check=True)
    (total,) = re.findall(r"Total Cycles:\s+(\d+)", done.stdout)
    return int(total) / ITERATIONS


def main() -> None:
    if shutil.which("llvm-mca") is None:
        sys.exit("llvm-mca is absent: apt-get install -y llvm")
    for board, (processor, gigahertz, kernel) in BOARDS.items():
        body, bits = hot_loop(assembly(kernel))
        rate = bits / cycles(body, processor)
        milliseconds = BITS / rate / gigahertz / 1e6
        print(
            f"{board} ({processor}, {gigahertz} GHz), predicted: {rate:.1f} binary MACs a cycle, "
            f"3x3 layer of 56 x 56 x 64 in {milliseconds:.2f} ms"
        )


if __name__ == "__main__":
    main()
