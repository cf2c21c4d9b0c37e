"""Images per second and core of the input pipeline, beside Keras's own, and its memory.

Both read the same JPEG files on the same cores, in turns: ours decodes, crops at random, resizes,
flips and normalises; `image_dataset_from_directory` decodes and resizes.
"""

import os
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import click
import numpy as np
import psutil
import tensorflow as tf

from siman_larq import data


def unpack(source: data.StreamedSource, folder: Path) -> None:
    """Writes the encoded training images as files, one folder for each class."""
    for number, (encoded, label) in enumerate(source.train.in_order().as_numpy_iterator()):
        path = folder / f"{label:04d}" / f"{number:07d}.jpg"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(encoded)


def rate(batches: Callable[[], tf.data.Dataset], images: int) -> float:
    """Images per second and core over one pass of `images` images, after a first batch."""
    cores = len(os.sched_getaffinity(0))
    iterator = iter(batches())
    next(iterator)
    start, seen = time.perf_counter(), 0
    while seen < images:
        seen += len(next(iterator)[0])
    return seen / (time.perf_counter() - start) / cores


@click.command(context_settings={"show_default": True})
@click.option("--dataset", default="photos")
@click.option("--data-dir", type=click.Path(path_type=Path), default=Path("data"))
@click.option("--batch-size", default=32)
@click.option("--image-size", default=224)
@click.option("--images", default=1000, help="Images of a turn.")
@click.option("--turns", default=7)
@click.option("--limit", default=300, help="Memory in MiB that a pass may add.")
def main(
    dataset: str,
    data_dir: Path,
    batch_size: int,
    image_size: int,
    images: int,
    turns: int,
    limit: int,
) -> None:
    """Prints the rates of both, their ratio, and the memory of the streaming one."""
    source = data.stream(dataset, data_dir)
    shape = (image_size, image_size, 3)

    def ours() -> tf.data.Dataset:
        return source.train_batches(
            batch_size=batch_size, image_shape=shape, seed=0, first_epoch=0, epochs=10_000
        )

    with tempfile.TemporaryDirectory() as folder:
        unpack(source, Path(folder))

        def keras() -> tf.data.Dataset:
            return tf.keras.utils.image_dataset_from_directory(
                folder, batch_size=batch_size, image_size=shape[:2], seed=0
            ).repeat()

        rates = np.array([[rate(b, images) for b in (ours, keras)] for _ in range(turns)])
    first, second = np.median(rates, axis=0)
    low, middle, high = np.percentile(rates[:, 0] / rates[:, 1], (25, 50, 75))
    cores = len(os.sched_getaffinity(0))
    print(f"TensorFlow {tf.__version__}, {cores} cores, {source.source}, {image_size} pixels")
    print(f"siman_larq.data.stream        {first:6.0f} images per second and core")
    print(f"image_dataset_from_directory  {second:6.0f} images per second and core")
    print(f"ratio: median {middle:.2f} (quartiles {low:.2f}-{high:.2f})")
    print_memory(source, shape, batch_size, limit)


def print_memory(
    source: data.StreamedSource, shape: tuple[int, int, int], batch_size: int, limit: int
) -> None:
    """Reads far more than `limit` and prints by how much the process grew."""
    files = sum(len(encoded) for encoded, _ in source.train.in_order().as_numpy_iterator())
    epochs = 1 + 3 * limit * 2**20 // files
    process = psutil.Process()
    batches = source.train_batches(
        batch_size=batch_size,
        image_shape=shape,
        seed=0,
        first_epoch=0,
        epochs=epochs,
        shuffle_buffer=256,
    )
    iterator = iter(batches)
    next(iterator)
    start = most = process.memory_info().rss
    for _ in iterator:
        most = max(most, process.memory_info().rss)
    read, grown = files * epochs / 2**20, (most - start) / 2**20
    verdict = "within" if grown <= limit else "ABOVE"
    print(f"memory: {read:.0f} MiB of JPEG read, {grown:.0f} MiB added, {verdict} {limit} MiB")
    if grown > limit:
        sys.exit(1)


if __name__ == "__main__":
    main()
