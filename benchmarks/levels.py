"""Which levels train better: {-1, +1} or {0, 1}? ResNet-20 on the embedded images, by seed."""

import os
import sys
import tempfile
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import click
import numpy as np
import tensorflow as tf

from siman_larq import data
from siman_larq.training import Recipe, recipe_for, train

VARIANTS: dict[str, dict[str, Any]] = {
    "`levels=(-1, 1)`, median": {"levels": (-1, 1)},
    "`levels=(0, 1)`, median": {"levels": (0, 1)},
}


def top1_after(recipe: Recipe, images: data.ImageData) -> float:
    """Trains from the recipe and returns the accuracy on the test images, in percent."""
    with tempfile.TemporaryDirectory() as folder:
        source = data.MemorySource(images)
        model = train(recipe, Path(folder), source)
    test = source.eval_batches(batch_size=250, image_shape=(32, 32, 3))
    return 100 * model.evaluate(test, verbose=0, return_dict=True)["accuracy"]


@click.command(context_settings={"show_default": True})
@click.option("--epochs", default=6)
@click.option("--seeds", default=3, help="Seeds 0, 1, ... of every variant.")
def main(epochs: int, seeds: int) -> None:
    """Prints the README's table "Which levels?"."""
    images = data.load("fashion_mnist_mini")
    lines = [
        f"ResNet-20, {epochs} epochs of 6,000 images, batch 128, TensorFlow {tf.__version__}",
        "| code | top-1 on 1,000 test images, seeds 0.. (%) | mean |\n|---|---|---|",
    ]
    for name, settings in VARIANTS.items():
        accuracies = []
        for seed in range(seeds):
            recipe = recipe_for(
                "fashion_mnist_mini", epochs=epochs, batch_size=128, seed=seed, **settings
            )
            accuracies.append(top1_after(recipe, images))
        figures = ", ".join(f"{accuracy:.1f}" for accuracy in accuracies)
        lines.append(f"| {name} | {figures} | {np.mean(accuracies):.1f} |")
    print("\n".join(lines))


if __name__ == "__main__":
    main()
