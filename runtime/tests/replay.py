"""Holds siman-runtime against what `make_cases.py` recorded, bit for bit.

Usage: replay.py FILE [threads]; needs siman-runtime only. Exits with 1 if anything differs.
"""

import sys
from collections import Counter

import numpy as np

import siman_runtime


def main() -> None:
    path, threads = sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else 1
    different = []
    seen: Counter = Counter()
    with np.load(path) as cases:
        names = [key[: -len("/model")] for key in cases.files if key.endswith("/model")]
        for name in names:
            interpreter = siman_runtime.Interpreter(cases[f"{name}/model"].tobytes(), threads)
            expected = cases[f"{name}/output"]
            output = interpreter.predict(cases[f"{name}/input"])
            seen[name.rstrip("0123456789")] += 1
            if output.dtype != expected.dtype or not np.array_equal(output, expected):
                share = np.mean(output != expected) if output.shape == expected.shape else 1
                different.append(f"{name}: {share:.2%} of values differ")
    counts = ", ".join(f"{count} {kind}" for kind, count in seen.items())
    print(f"{siman_runtime.kernel_name()}: {counts} models, {len(different)} differ from LCE")
    if different or not seen:
        sys.exit("\n".join(different) or "no cases")


if __name__ == "__main__":
    main()
