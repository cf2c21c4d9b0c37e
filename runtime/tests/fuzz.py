"""Gives damaged and hostile models to siman-runtime: each must raise an error or run.

Usage: fuzz.py [models] [seed]. Models run in a process of their own, which is started again when it
dies or hangs; then this program prints how to make the model and exits with 1.

With sanitizers: `make sanitize` builds the library with AddressSanitizer and UBSan and runs this.
"""

import os
import subprocess
import sys
import threading
import time
from collections import Counter

import numpy as np
from tflite_models import BITS, BOOL, FLOAT, INT8, Builder, Convolution, Pool, pack, words

import siman_runtime
from siman_runtime.errors import ModelError

HANG_SECONDS = 60
_EXTREME = [
    -(2**31),
    -(2**15),
    -1,
    0,
    1,
    2,
    3,
    31,
    33,
    255,
    2**15,
    2**16 + 1,
    2**20,
    2**31 - 1,
    2**40,
]


def _seeds() -> "list[bytes]":
    ops = [
        Convolution(height=5, width=6, channels=40, filters=20, seed=1),
        Convolution(height=5, width=6, channels=64, filters=8, groups=2, output=INT8, seed=2),
        Convolution(height=7, width=5, channels=33, filters=40, output=BITS, stride=(2, 1), seed=3),
        Convolution(height=6, width=6, channels=32, filters=16, pad_values=0, dilation=(2, 1)),
        Pool(height=6, width=5, channels=40, output=INT8),
        Pool(height=6, width=5, channels=40, window=(3, 2), padding=0, output=BOOL),
    ]
    return [op.model() for op in ops] + [_residual_network()]


def _residual_network() -> bytes:
    ops = [Convolution(height=5, width=6, channels=32, filters=32, seed=s) for s in range(3)]
    b = Builder()
    tensor = x = b.tensor(ops[0].shape, FLOAT)
    for activation, op in enumerate(ops):
        tensor = b.add(op.append(b, tensor), tensor, activation)
    return b.build([x], [tensor])


def _bytes_changed(rng: np.random.Generator, content: bytes) -> bytes:
    data = bytearray(content)
    for _ in range(int(rng.integers(1, 4))):
        at = int(rng.integers(8, len(data)))
        kind = rng.random()
        if kind < 0.5:
            data[at] ^= 1 << int(rng.integers(8))
        elif kind < 0.8:
            data[at] = int(rng.integers(256))
        elif kind < 0.97:
            value = int(rng.choice(_EXTREME)) & 0xFFFFFFFF
            data[at : at + 4] = value.to_bytes(4, "little")[: len(data) - at]
        elif len(data) > 64:
            length = int(rng.integers(1, 32))
            del data[at : at + length]
    return bytes(data)


def _options_changed(rng: np.random.Generator) -> bytes:
    op = Convolution(height=4, width=5, channels=40, filters=8, seed=int(rng.integers(9)))
    options = dict(op.options)
    for name in rng.choice(list(options), int(rng.integers(3))):
        value = rng.choice(_EXTREME) if rng.random() < 0.5 else rng.integers(4)
        options[str(name)] = int(value)
    if rng.random() < 0.03:
        del options[str(rng.choice(list(options)))]
    if rng.random() < 0.03:
        options["unknown"] = 1
    b = Builder()
    shape = [1, 4, 5, 40]
    bits, weights = [1, 4, 5, words(40)], pack(op.weights)
    filter_shape = list(weights.shape)
    if rng.random() < 0.4:
        target = [shape, bits, filter_shape][rng.integers(3)]
        value = rng.choice(_EXTREME[:-1]) if rng.random() < 0.5 else rng.integers(1, 9)
        target[rng.integers(4)] = int(value)
    x, packed = b.tensor(shape, FLOAT), b.tensor(bits, BITS)
    parameters = [op.multiplier, op.bias, op.thresholds]
    for index in np.flatnonzero(rng.random(3) < 0.03):
        parameters[index] = parameters[index][: int(rng.integers(1, 8))]
    inputs = [packed, b.tensor(filter_shape, BITS, data=weights)]
    inputs += [b.constant(p) if rng.random() < 0.97 else -1 for p in parameters]
    if rng.random() < 0.03:
        inputs = inputs[: int(rng.integers(6))]
    y = b.tensor([1, 4, 5, 8], [FLOAT, INT8, BITS, BOOL][rng.integers(4)], scale=0.5)
    b.op("LceQuantize", [x], [packed])
    names = ["LceBconv2d", "LceBMaxPool2d", "LceDequantize", "LceNew"]
    name = str(rng.choice(names, p=[0.94, 0.02, 0.02, 0.02]))
    b.op(name, inputs, [y], options, version=2 if rng.random() < 0.05 else 1)
    return b.build([x], [y])


def hostile_model(seed: int, index: int, seeds: "list[bytes]") -> bytes:
    rng = np.random.default_rng([seed, index])
    kind = rng.random()
    if kind < 0.35:
        return _options_changed(rng)
    content = seeds[rng.integers(len(seeds))]
    if kind < 0.42:
        return content[: int(rng.integers(len(content)))]
    return _bytes_changed(rng, content)


def work(seed: int, first: int, last: int) -> None:
    """Runs models and tells what became of each, on standard output."""
    seeds = _seeds()
    for index in range(first, last):
        print("start", index, flush=True)
        try:
            interpreter = siman_runtime.Interpreter(hostile_model(seed, index, seeds))
            size = sum(int(np.prod(shape)) for shape in interpreter.input_shapes)
            if size < 2**22 and interpreter.input_shapes:
                interpreter.predict(
                    [
                        np.ones(s, t)
                        for s, t in zip(
                            interpreter.input_shapes, interpreter.input_types, strict=True
                        )
                    ]
                )
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
            report = [e for e in errors if "ERROR: " in e or "runtime error" in e or "#0" in e][-3:]
            failures.append(f"model {following - 1} of seed {seed}: exit {code}: {''.join(report)}")
            print(failures[-1], flush=True)
    told = ", ".join(f"{n} {outcome}" for outcome, n in outcomes.most_common())
    spent = time.monotonic() - start
    print(
        f"{count} models in {spent:.0f} s ({siman_runtime.kernel_name()}): {told}; "
        f"{len(failures)} crashed or hung"
    )
    sys.exit(bool(failures))


if __name__ == "__main__":
    if sys.argv[1:2] == ["--work"]:
        work(*map(int, sys.argv[2:5]))
        os._exit(0)
    main()
