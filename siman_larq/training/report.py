"""What a run leaves behind: model files, figures as JSON and Markdown, and pictures."""

import csv
import importlib.util
import json
import math
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from siman_larq import analysis, data
from siman_larq._optional import require
from siman_larq._scopes import quantized
from siman_larq.analysis import LayerActivations, LayerCode
from siman_larq.choices import ZOO_MODELS
from siman_larq.conversion import Report, convert, verify
from siman_larq.conversion.binary import binary_layers
from siman_larq.conversion.metadata import add_input_settings
from siman_larq.conversion.proof import small_map_layers
from siman_larq.files import write_atomically
from siman_larq.training import pictures, text
from siman_larq.training.folder import INPUT
from siman_larq.training.images import described
from siman_larq.training.machine import machine
from siman_larq.training.progress import say
from siman_larq.training.recipe import Recipe, evaluation_batch
from siman_larq.training.testing import Answers, answers

__all__ = ["finish", "keep_model"]

# Files take one image at a time, in LCE's interpreter on portable kernels: a sample must do.
_VERIFIED_IMAGES = 1000
# A matrix of more classes cannot be read; then the worst pairs must do.
_MOST_CLASSES = 20
_PAIRS = 20
_SAMPLES = 16
# Whose activations are looked at, one layer after the other; fewer of more than so many pixels.
_IMAGES, _SMALL, _FEW_IMAGES = 100, 64, 10


@quantized(False)
def finish(
    recipe: Recipe,
    folder: Path,
    model: tf.keras.Model,
    images: data.ImageSource,
    trained_on: str | None = None,
) -> str:
    """Tests, converts and verifies a trained model and writes everything into its run folder.

    Everything is made anew, also where an earlier report is there, whole or in part. Without Larq
    Compute Engine there is no 1-bit file, and the table says so.

    # Arguments
        recipe: The recipe of the run.
        folder: The run folder.
        model: The trained model.
        images: The images it was trained and is tested on.
        trained_on: The machine that trained it, if it is not this one.

    # Returns
        The final table, for people.
    """
    settings, shape = keep_model(folder, model, images), model.input_shape[1:]
    say(f"Testing on {images.test_count:,} {text.tested_on(asdict(recipe))}.")
    tested = answers(model, images, evaluation_batch(recipe))
    sample, labels = images.test_sample(_VERIFIED_IMAGES, shape)
    history = _history(folder / "history.csv")
    figures = _figures(recipe, images, tested) | _times(history)
    if trained_on:
        figures["machine"] = trained_on
    try:
        require("larq_compute_engine", extra="convert", purpose="The 1-bit file")
    except ImportError as error:
        # Training does without it; a model is converted where there is a wheel.
        figures |= {"no_file": str(error)}
        predicted = tested.predicted[: len(labels)]
    else:
        tflite = _converted(recipe, model, settings)
        write_atomically(folder / "model.tflite", tflite)
        report = _verified(model, tflite, sample)
        figures |= _figures_of_file(model, report, labels)
        predicted = np.argmax(report.tflite_outputs, axis=-1)
    say("Drawing the report.")
    codes = analysis.codes(model)
    few = _FEW_IMAGES if max(shape) > _SMALL else _IMAGES
    activations = analysis.activations(model, sample[:few])
    figures |= {"codes": _rows(codes), "activations": _rows(activations), "recipe": asdict(recipe)}
    write_atomically(folder / "report.json", json.dumps(figures, indent=2) + "\n")
    _draw(folder, tested, history, text.tested_on(asdict(recipe)))
    if codes:
        pictures.save(analysis.plot_weights(codes), folder / "weights.png")
        pictures.save(analysis.plot_angles(codes), folder / "angles.png")
        pictures.save(analysis.plot_epochs(history), folder / "codes.png")
    if activations:
        pictures.save(analysis.plot_margins(activations), folder / "margins.png")
    _draw_samples(folder, settings, images.class_names, sample, labels, predicted)
    write_atomically(folder / "report.md", text.markdown(figures, tested.names))
    table = text.table(figures)
    if "no_file" in figures:
        table += f"\nThe trained model is {folder / 'model.keras'}. {figures['no_file']}"
    return table


def keep_model(folder: Path, model: tf.keras.Model, images: data.ImageSource) -> dict[str, Any]:
    """Writes `model.keras` and `input.json`, which a teacher needs, and then gives the latter."""
    model.save(folder / "model.partial.keras")
    (folder / "model.partial.keras").replace(folder / "model.keras")
    settings = described(images, model.input_shape[1:])
    write_atomically(folder / INPUT, json.dumps(settings, indent=2) + "\n")
    return settings


def _converted(recipe: Recipe, model: tf.keras.Model, settings: dict[str, Any]) -> bytes:
    say("Converting to a 1-bit file, which takes a minute for large networks.")
    # Larq Zoo's dense layers have no 1-bit op; the table says what was left float.
    is_zoo = recipe.model in ZOO_MODELS
    names = [layer.name for layer in binary_layers(model)] if is_zoo else []
    return add_input_settings(convert(model, allow_float=names, small_maps="rewrite"), settings)


def _verified(model: tf.keras.Model, tflite: bytes, sample: np.ndarray) -> Report:
    note = ", which takes minutes for large ones" if max(sample.shape[1:]) > 64 else ""
    many = f"{len(sample):,} images"
    if importlib.util.find_spec("siman_runtime") is not None:
        say(f"Verifying the file on {many} in siman-runtime, layer by layer{note}.")
        try:
            return verify(model, tflite, sample, runtime="siman", layers=True)
        except (ImportError, ValueError) as error:
            say(f"It cannot be done so. {error}")
    say(f"Verifying the file on {many} in LCE's interpreter{note}.")
    return verify(model, tflite, sample)


def _history(path: Path) -> list[dict[str, str]]:
    if not path.is_file():
        return []
    with open(path, newline="") as file:
        return list(csv.DictReader(file))


def _times(history: list[dict[str, str]]) -> dict[str, Any]:
    """Seconds of training, over all sessions; of epochs whose time is known."""
    seconds = [float(row["seconds"]) for row in history if row.get("seconds")]
    return {
        "training_seconds": sum(seconds),
        "seconds_per_epoch": sum(seconds) / len(seconds) if seconds else None,
        "epochs_timed": len(seconds),
    }


def _figures(recipe: Recipe, images: data.ImageSource, tested: Answers) -> dict[str, Any]:
    return {
        "test_images": len(tested.labels),
        "keras_accuracy": tested.accuracy,
        "keras_top5": tested.top5 if recipe.is_streamed else None,
        "confusion": tested.confusion().tolist() if _is_readable(tested) else None,
        "most_confused": [
            {"true": tested.names[true], "predicted": tested.names[predicted], "images": number}
            for true, predicted, number in tested.most_confused(_PAIRS)
        ],
        "data_source": images.source,
        "machine": machine(),
        "tensorflow": tf.__version__,
    }


def _figures_of_file(model: tf.keras.Model, report: Report, labels: np.ndarray) -> dict[str, Any]:
    def top1(outputs: np.ndarray) -> float:
        return float(np.mean(np.argmax(outputs, axis=-1) == labels))

    return {
        "verified_images": len(labels),
        "keras_accuracy_verified": top1(report.keras_outputs),
        "tflite_accuracy_verified": top1(report.tflite_outputs),
        "agreement": report.agreement,
        "equal": report.outputs[0].equal,
        "tolerance": report.tolerance,
        "max_abs_difference": report.max_abs_difference,
        "kernel": report.kernel,
        "layers": None if report.layers is None else str(report.layers),
        "rewritten": [layer.name for layer in small_map_layers(model)],
        "packed": report.packed,
        "left_float": report.left_float,
        "size_bytes": report.size_bytes,
        "theoretical_bytes": report.theoretical_bytes,
        "float32_bytes": report.float32_bytes,
    }


def _is_readable(tested: Answers) -> bool:
    return len(tested.names) <= _MOST_CLASSES


def _rows(layers: Sequence[LayerCode] | Sequence[LayerActivations]) -> list[dict[str, Any]]:
    """Figures by layer; JSON has no NaN."""
    return [
        {"layer": layer.name}
        | {name: None if math.isnan(value) else value for name, value in layer.summary().items()}
        for layer in layers
    ]


def _draw(
    folder: Path,
    tested: Answers,
    history: list[dict[str, str]],
    tested_on: str,
) -> None:
    pictures.plot_curves(history, folder / "curves.png", tested_on)
    path = folder / "confusion.png"
    if _is_readable(tested):
        pictures.plot_confusion(tested.confusion(), tested.names, path)
    else:
        pictures.plot_most_confused(tested.most_confused(_PAIRS), tested.names, path)


def _draw_samples(
    folder: Path,
    settings: dict[str, Any],
    names: tuple[str, ...],
    inputs: np.ndarray,
    labels: np.ndarray,
    predicted: np.ndarray,
) -> None:
    """The first test images, and behind them others that were answered wrongly."""
    first = np.arange(min(_SAMPLES, len(labels)))
    wrong = np.flatnonzero(predicted != labels)
    shown = np.concatenate([first, wrong[wrong >= len(first)][:_SAMPLES]])
    pixels = np.clip(inputs[shown] * settings["std"] + settings["mean"], 0, 1)
    pictures.plot_samples(pixels, labels[shown], predicted[shown], names, folder / "samples.png")
