"""Counts instructions per 1,024 binary multiply-accumulates in the hot loops of the NEON kernels.

Compiles them to assembly, for aarch64, with the wheels' compiler (package ziglang) or with that
named by CXX. Exits with 1 if one is above the limit: LCE's NEON loop takes 33.
"""

import os
import re
import shlex
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parents[1]
KERNELS = ("kernel_neon", "kernel_neon_dot")
LIMIT = 33.0
BITS_PER_COUNT = 128


def assembly(kernel: str) -> str:
    zig = f"{shlex.quote(sys.executable)} -m ziglang c++ -target aarch64-linux-gnu.2.17"
    command = shlex.split(os.environ.get("CXX", zig))
    with tempfile.TemporaryDirectory() as folder:
        output = Path(folder) / "kernel.s"
        flags = ["-std=c++17", "-O3", "-g0", "-fPIC", "-ffp-contract=off", "-S", "-o", str(output)]
        flags.append("-Wno-unused-command-line-argument")  # Zig adds -c beside -S
        source = str(HERE / "src" / f"{kernel}.cc")
        subprocess.run([*command, *flags, source], check=True)
        return output.read_text()


def loops(text: str) -> "list[list[str]]":
    """Bodies of loops: from a label to a branch back to it, without labels and directives."""
    lines = [line.split("//")[0].strip() for line in text.splitlines()]
    places = {line[:-1]: n for n, line in enumerate(lines) if re.fullmatch(r"[.\w$]+:", line)}
    found = []
    for n, line in enumerate(lines):
        branch = re.fullmatch(r"(?:b\.?\w*|cbn?z\s.*,|tbn?z\s.*,)\s+([.\w$]+)", line)
        start = places.get(branch.group(1)) if branch else None
        if start is not None and start < n:
            body = [x for x in lines[start : n + 1] if x and not x.startswith(".") and x[-1] != ":"]
            found.append(body)
    return found


def hot_loop(text: str) -> "tuple[list[str], int]":
    """The loop over words for the most positions, where nearly all work is done; its bits."""
    counted = []
    for body in loops(text):
        bits = BITS_PER_COUNT * sum(line.split()[0] == "cnt" for line in body)
        inner = not any(line.split()[0] in ("ret", "bl") for line in body)
        if bits and inner and any(line.startswith("eor") for line in body):
            counted.append((-bits, len(body), body))
    if not counted:
        sys.exit("no hot loop was found in the assembly")
    negated, _, body = min(counted)
    return body, -negated


def main() -> None:
    worst = 0.0
    for kernel in KERNELS:
        body, bits = hot_loop(assembly(kernel))
        taken = 1024 * len(body) / bits
        worst = max(worst, taken)
        print(
            f"{kernel}: {len(body)} instructions for {bits} binary MACs: {taken:.1f} per 1,024 "
            f"(LCE: {LIMIT:.0f})"
        )
    if worst > LIMIT:
        sys.exit(1)


if __name__ == "__main__":
    main()
