"""Converts every model of `siman_larq.zoo` and prints a Markdown table of what came of it.

    python tools/zoo_table.py
    python tools/zoo_table.py --side 64 --short  # without the stock models

Each row is a process of its own, so that a crash (stock DoReFaNet's conversion has one) costs only
that row. Rows that the log has already, of this version of the package, are not made again.

Networks with random weights amplify rounding: LCE multiplies and adds where batch normalization
was, in another order, and one sum in a million or so gets another sign, from which all layers after
it differ. A wrong file would differ on every image, so the images with equal outputs are counted;
and siman-runtime, which must be installed, shows layer by layer whether it is rounding.
"""

import argparse
import json
import signal
import subprocess
import sys
import time
import warnings
from pathlib import Path
from typing import Any

import siman_larq  # noqa: F401  (before Larq, which needs the Keras 2 that this sets up)

# isort: split
import larq as lq
import larq_compute_engine as lce
import numpy as np
import tensorflow as tf
from version import package

from siman_larq import convert, verify, zoo
from siman_larq.conversion import operators
from siman_larq.conversion.binary import binary_layers, why_float
from siman_larq.conversion.comparison import Report

ROWS = ("stock", "-1,1", "0,1")
IMAGES = 8
SEED = 0

Row = dict[str, Any]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--models", nargs="+", choices=zoo.MODELS, default=list(zoo.MODELS))
    parser.add_argument("--side", type=int, default=224, help="height and width of the images")
    parser.add_argument("--classes", type=int, default=1000)
    parser.add_argument(
        "--short", action="store_true", help="layer by layer only, and no stock models"
    )
    parser.add_argument("--log", type=Path, default=Path("runs/zoo_table.jsonl"))
    parser.add_argument("--model", choices=zoo.MODELS, help="only prints one row, as JSON")
    parser.add_argument("--levels", choices=ROWS, default="-1,1", help="levels of that row")
    arguments = parser.parse_args()
    size = {"side": arguments.side, "classes": arguments.classes}
    if arguments.model:
        make = _stock_row if arguments.levels == "stock" else _row
        print(json.dumps(make(arguments.model, arguments.levels, **size)))
        return
    arguments.log.parent.mkdir(parents=True, exist_ok=True)
    rows = {}
    if arguments.log.exists():
        logged = map(json.loads, arguments.log.read_text().splitlines())
        rows = {_key(row): row for row in logged if row.get("package") == package()}
    kinds = ROWS[1:] if arguments.short else ROWS
    for model in arguments.models:
        for levels in kinds:
            wanted = {"model": model, "levels": levels, **size}
            if _key(wanted) not in rows:
                rows[_key(wanted)] = _from_process(wanted, arguments.log)
    table = _short_table if arguments.short else _table
    print(table([_model_rows(rows, model, kinds, size) for model in arguments.models]))


def _key(row: Row) -> tuple:
    return row["model"], row["levels"], row["side"], row["classes"]


def _model_rows(
    rows: dict[tuple, Row], model: str, kinds: tuple[str, ...], size: dict[str, int]
) -> list[Row]:
    return [rows[_key({"model": model, "levels": levels, **size})] for levels in kinds]


def _from_process(wanted: Row, log: Path) -> Row:
    start = time.monotonic()
    options = [f"--{name}={value}" for name, value in wanted.items()]
    process = subprocess.run(
        [sys.executable, __file__, *options], capture_output=True, text=True, check=False
    )
    made: Row = {}
    if process.returncode == 0:
        made = json.loads(process.stdout.splitlines()[-1])
    elif process.returncode < 0:
        made = {"error": f"died of {signal.Signals(-process.returncode).name}"}
    else:
        made = {"error": (process.stderr.strip().splitlines() or ["no message"])[-1]}
    seconds = round(time.monotonic() - start)
    row = {**wanted, **made, "package": package(), "seconds": seconds}
    with log.open("a") as file:
        file.write(json.dumps(row) + "\n")
    print(json.dumps(row), file=sys.stderr, flush=True)
    return row


def _row(name: str, levels: str, side: int, classes: int) -> Row:
    tf.keras.utils.set_random_seed(SEED)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", zoo.BinarizeWarning)
        low, high = levels.split(",")
        model = zoo.MODELS[name]((side, side, 3), classes, (int(low), int(high)))
    notes = [str(w.message) for w in caught if w.category is zoo.BinarizeWarning]
    floats = [layer for layer in binary_layers(model) if isinstance(layer, lq.layers.QuantDense)]
    images = np.random.default_rng(SEED).normal(size=(IMAGES, side, side, 3)).astype(np.float32)
    _calibrate(model, images)
    tflite = convert(model, allow_float=[layer.name for layer in floats])
    try:
        report = verify(model, tflite, images, runtime="siman", layers=True)
        layers = str(report.layers)
    except ValueError as refused:  # then it is not judged, and why is in the table
        report = verify(model, tflite, images, runtime="siman")
        layers = str(refused)
    equal = _equal_images(report)
    row = {
        "binary": len(binary_layers(model)),
        "packed": len(report.packed),
        "left_float": {layer.name: why_float(layer) for layer in floats},
        "notes": notes,
        "bytes": report.size_bytes,
        "agreement": report.agreement,
        "max_abs_difference": report.max_abs_difference,
        "equal": equal,
        "layers": layers,
    }
    if equal < IMAGES:
        # With it (x - mean) * scale + beta becomes x * scale + (beta - mean * scale).
        tf.config.optimizer.set_experimental_options({"remapping": False})
        row["equal_not_remapped"] = _equal_images(verify(model, tflite, images, runtime="siman"))
    return row


def _equal_images(report: Report) -> int:
    differences = np.abs(report.keras_outputs - report.tflite_outputs).max(axis=1)
    return int((differences < 1e-4 * np.abs(report.keras_outputs).max(axis=1)).sum())


def _calibrate(model: tf.keras.Model, images: np.ndarray) -> None:
    """Makes batch normalization somewhat as after training.

    With the initial one many sums in a network are exactly 0, and at borders LCE's kernels round
    such a sum to either side of it.
    """
    for layer in model.layers:
        if isinstance(layer, tf.keras.layers.BatchNormalization):
            layer.momentum = 0.0  # the statistics are those of the images
            if layer.center:
                layer.beta.assign(tf.random.normal(layer.beta.shape, stddev=0.1))
    model(images, training=True)


def _stock_row(name: str, levels: str, side: int, classes: int) -> Row:
    """The model as Larq Zoo makes it, converted as Larq's guide says."""
    _, stock = getattr(zoo, f"SiMaN{name}Factory").__bases__
    model = stock(input_shape=(side, side, 3), num_classes=classes).build()
    tflite = lce.convert_keras_model(model)
    return {
        "binary": len(binary_layers(model)),
        "packed": operators(tflite).count("LceBconv2d"),
        "bytes": len(tflite),
    }


def _table(models: list[list[Row]]) -> str:
    lines = [
        "| model | levels | 1-bit in the file | file, MB | stock: 1-bit, file | equal outputs "
        "| largest difference | layer by layer |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for stock, *ours in models:
        stock_cell = stock.get("error") or (
            f"{stock['packed']} of {stock['binary']}, {stock['bytes'] / 1e6:.2f} MB"
        )
        for row in ours:
            start = f"| {row['model']} | {_levels(row)} "
            if "error" in row:
                lines.append(f"{start}| {row['error']} | | {stock_cell} | | | |")
                continue
            lines.append(
                f"{start}| {row['packed']} of {row['binary']} | {row['bytes'] / 1e6:.2f} "
                f"| {stock_cell} | {row['equal']} of {IMAGES} "
                f"| {row['max_abs_difference']:.1e} | {row['layers']} |"
            )
    return "\n".join([*lines, *_notes(models)])


def _short_table(models: list[list[Row]]) -> str:
    lines = [f"| model | {' | '.join(map(_levels, models[0]))} |", "|---|---|---|"]
    for ours in models:
        cells = [row.get("error") or f"{row['layers']} ({_equal(row)})" for row in ours]
        lines.append(f"| {ours[0]['model']} | {' | '.join(cells)} |")
    return "\n".join([*lines, *_notes(models)])


def _equal(row: Row) -> str:
    if "equal_not_remapped" not in row:
        return f"{row['equal']} of {IMAGES}"
    return f"{row['equal']} of {IMAGES}; not remapped {row['equal_not_remapped']}"


def _levels(row: Row) -> str:
    return f"({row['levels'].replace(',', ', ')})"


def _notes(models: list[list[Row]]) -> list[str]:
    """What was said of the models, and of the layers that stay float, each once."""
    notes: dict[str, None] = {}
    for row in (row for rows in models for row in rows):
        notes |= {" ".join(note.split()): None for note in row.get("notes", [])}
        for layer, why in row.get("left_float", {}).items():
            notes[f"{row['model']}: {layer} stays float: {why}"] = None
    return ["", *(f"- {note}" for note in notes)] if notes else []


if __name__ == "__main__":
    main()
