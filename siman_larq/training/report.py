"""What a run leaves behind: model files, figures as JSON and Markdown, curves and histograms."""

import csv
import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import larq as lq
import matplotlib
import numpy as np
import tensorflow as tf

from siman_larq import data
from siman_larq.choices import ZOO_MODELS
from siman_larq.conversion import Report, convert, verify
from siman_larq.conversion.binary import binary_layers
from siman_larq.conversion.metadata import add_input_settings
from siman_larq.training.files import write_atomically
from siman_larq.training.recipe import Recipe, evaluation_batch

matplotlib.use("Agg")
import matplotlib.pyplot as plt

__all__ = ["finish"]

# LCE's interpreter takes one image at a time, on portable kernels: a sample must do.
_VERIFIED_IMAGES = 1000


def finish(recipe: Recipe, folder: Path, model: tf.keras.Model, images: data.ImageSource) -> str:
    """Converts and verifies a trained model and writes everything into its run folder.

    # Arguments
        recipe: The recipe of the run.
        folder: The run folder.
        model: The trained model.
        images: The images it was trained and is tested on.

    # Returns
        The final table, for people.
    """
    model.save(folder / "model.partial.keras")
    (folder / "model.partial.keras").replace(folder / "model.keras")
    # Larq Zoo's dense layers have no 1-bit op; the table says what was left float.
    is_zoo = recipe.model in ZOO_MODELS
    names = [layer.name for layer in binary_layers(model)] if is_zoo else []
    shape = model.input_shape[1:]
    settings = images.input_settings(shape) | {"class_names": list(images.class_names)}
    tflite = add_input_settings(convert(model, allow_float=names), settings)
    write_atomically(folder / "model.tflite", tflite)
    write_atomically(folder / "input.json", json.dumps(settings, indent=2) + "\n")
    test = images.eval_batches(batch_size=evaluation_batch(recipe), image_shape=shape)
    evaluated = model.evaluate(test, verbose=0, return_dict=True)
    sample, labels = images.test_sample(_VERIFIED_IMAGES, shape)
    report = verify(model, tflite, sample)
    figures = _figures(recipe, images, evaluated, labels, report, _codes(model))
    write_atomically(folder / "report.json", json.dumps(figures, indent=2) + "\n")
    _plot_history(folder)
    _plot_weights(model, folder / "weights.png")
    table = _table(figures)
    write_atomically(folder / "report.md", _markdown(recipe, figures, table))
    return table


def _figures(
    recipe: Recipe,
    images: data.ImageSource,
    evaluated: dict[str, float],
    labels: np.ndarray,
    report: Report,
    codes: list[dict[str, Any]],
) -> dict[str, Any]:
    def top1(outputs: np.ndarray) -> float:
        return float(np.mean(np.argmax(outputs, axis=-1) == labels))

    return {
        "test_images": images.test_count,
        "keras_accuracy": evaluated["accuracy"],
        "keras_top5": evaluated.get("top5"),
        "verified_images": len(labels),
        "keras_accuracy_verified": top1(report.keras_outputs),
        "tflite_accuracy_verified": top1(report.tflite_outputs),
        "agreement": report.agreement,
        "max_abs_difference": report.max_abs_difference,
        "packed": report.packed,
        "left_float": report.left_float,
        "size_bytes": report.size_bytes,
        "theoretical_bytes": report.theoretical_bytes,
        "float32_bytes": report.float32_bytes,
        "data_source": images.source,
        "tensorflow": tf.__version__,
        "codes": codes,
        "recipe": asdict(recipe),
    }


def _codes(model: tf.keras.Model) -> list[dict[str, Any]]:
    """Per binary layer: entropy of the binary weights, and kurtosis of the latent ones."""
    rows = []
    for layer in binary_layers(model):
        filters = layer.kernel.shape[-1]
        latent = layer.kernel.numpy().reshape(-1, filters)
        with lq.context.quantized_scope(True):
            code = layer.kernel.numpy().reshape(-1, filters)
        ones = np.clip((code == code.max()).mean(axis=0), 1e-12, 1 - 1e-12)
        entropy = -(ones * np.log2(ones) + (1 - ones) * np.log2(1 - ones))
        z = (latent - latent.mean(0)) / np.maximum(latent.std(0), 1e-12)
        rows.append(
            {
                "layer": layer.name,
                "share_of_ones": float(ones.mean()),
                "binary_entropy_bits": float(entropy.mean()),
                "latent_excess_kurtosis": float((z**4).mean() - 3),
            }
        )
    return rows


def _table(figures: dict[str, Any]) -> str:
    """The figures as aligned lines."""
    size, least, full = (figures[f"{key}_bytes"] for key in ("size", "theoretical", "float32"))
    n = figures["verified_images"]
    binary = len(figures["packed"]) + len(figures["left_float"])
    tests = figures["test_images"]
    rows = [
        (f"accuracy, Keras, {tests:,} images", f"{figures['keras_accuracy']:.2%}"),
        (f"top-5, Keras, {tests:,} images", f"{figures['keras_top5'] or 0:.2%}"),
        (f"accuracy, Keras, first {n:,}", f"{figures['keras_accuracy_verified']:.2%}"),
        (f"accuracy, TFLite, first {n:,}", f"{figures['tflite_accuracy_verified']:.2%}"),
        ("agreement of top-1", f"{figures['agreement']:.2%}"),
        ("largest difference of outputs", f"{figures['max_abs_difference']:.2g}"),
        ("file size", f"{size:,} bytes"),
        ("  over 1-bit theory", f"{size / least:.2f} x of {least:,} bytes"),
        ("  over float32", f"1/{full / size:.1f} of {full:,} bytes"),
        ("packed binary layers", f"{len(figures['packed'])} of {binary}"),
    ]
    if figures["left_float"]:
        rows.append(("  left float", ", ".join(figures["left_float"])))
    if n == tests:
        del rows[2]
    if figures["keras_top5"] is None:
        del rows[1]
    width = max(len(name) for name, _ in rows)
    return "\n".join(f"{name:<{width}}  {value}" for name, value in rows)


def _markdown(recipe: Recipe, figures: dict[str, Any], table: str) -> str:
    codes = "\n".join(
        f"| {row['layer']} | {row['share_of_ones']:.3f} | {row['binary_entropy_bits']:.3f} "
        f"| {row['latent_excess_kurtosis']:.2f} |"
        for row in figures["codes"]
    )
    return f"""# {recipe.model} on {recipe.dataset}, seed {recipe.seed}

```
{table}
```

Data: {figures["data_source"]}. TensorFlow {figures["tensorflow"]}.

![Loss and accuracy](curves.png)

![Latent weights](weights.png)

| layer | share of ones | entropy of binary weights (bit) | excess kurtosis of latent weights |
|---|---|---|---|
{codes}

The recipe is in `recipe.json`, the figures of every epoch in `history.csv`.
"""


def _plot_history(folder: Path) -> None:
    with open(folder / "history.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    epochs = [int(row["epoch"]) + 1 for row in rows]
    figure, axes = plt.subplots(1, 2, figsize=(9, 3.5), layout="constrained")
    for axis, name in zip(axes, ("loss", "accuracy"), strict=True):
        axis.plot(epochs, [float(row[name]) for row in rows], label="training")
        axis.plot(epochs, [float(row[f"val_{name}"]) for row in rows], label="test")
        axis.set(xlabel="epoch", ylabel=name)
        axis.legend()
        axis.grid(alpha=0.3)
    figure.savefig(folder / "curves.png", dpi=120)
    plt.close(figure)


def _plot_weights(model: tf.keras.Model, path: Path) -> None:
    layers = binary_layers(model)
    columns = min(6, len(layers))
    rows = -(-len(layers) // columns)
    figure, axes = plt.subplots(
        rows, columns, figsize=(2.1 * columns, 1.7 * rows), layout="constrained", squeeze=False
    )
    for axis in axes.flat:
        axis.axis("off")
    for axis, layer in zip(axes.flat, layers, strict=False):
        axis.axis("on")
        axis.hist(layer.kernel.numpy().ravel(), bins=61)
        axis.set_title(layer.name, fontsize=8)
        axis.tick_params(labelsize=6)
        axis.set_yticks([])
    figure.suptitle("Latent weights")
    figure.savefig(path, dpi=120)
    plt.close(figure)
