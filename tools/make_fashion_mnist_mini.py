"""Writes the embedded data set fashion_mnist_mini from Debian's copy of Fashion-MNIST.

Run it in an environment where siman-larq is installed:

    python tools/make_fashion_mnist_mini.py
"""

import argparse
import contextlib
import hashlib
import io
import json
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow_datasets as tfds
from PIL import Image
from tqdm import tqdm

from siman_larq.data.datasets import FASHION_MNIST_CLASSES
from siman_larq.data.errors import DatasetCorruptError, DatasetNotFoundError
from siman_larq.data.idx import read_idx_split

SOURCE = Path("/usr/share/datasets/fashion-mnist")
OUTPUT = Path(__file__).resolve().parents[1] / "siman_larq" / "data" / "fashion_mnist_mini"
PER_CLASS = {"train": 600, "test": 100}
MAX_BYTES = 4_000_000  # the set travels inside the wheel

LICENSE = """\
The MIT License (MIT) Copyright © 2017 Zalando SE, https://tech.zalando.com

Permission is hereby granted, free of charge, to any person obtaining a copy of this software and
associated documentation files (the "Software"), to deal in the Software without restriction,
including without limitation the rights to use, copy, modify, merge, publish, distribute,
sublicense, and/or sell copies of the Software, and to permit persons to whom the Software is
furnished to do so, subject to the following conditions:

The above copyright notice and this permission notice shall be included in all copies or
substantial portions of the Software.

THE SOFTWARE IS PROVIDED "AS IS", WITHOUT WARRANTY OF ANY KIND, EXPRESS OR IMPLIED, INCLUDING BUT
NOT LIMITED TO THE WARRANTIES OF MERCHANTABILITY, FITNESS FOR A PARTICULAR PURPOSE AND
NONINFRINGEMENT. IN NO EVENT SHALL THE AUTHORS OR COPYRIGHT HOLDERS BE LIABLE FOR ANY CLAIM,
DAMAGES OR OTHER LIABILITY, WHETHER IN AN ACTION OF CONTRACT, TORT OR OTHERWISE, ARISING FROM, OUT
OF OR IN CONNECTION WITH THE SOFTWARE OR THE USE OR OTHER DEALINGS IN THE SOFTWARE.
"""

README = """\
# fashion_mnist_mini

A fixed, class-balanced part of [Fashion-MNIST](https://github.com/zalandoresearch/fashion-mnist):
28x28 grey images of clothes in 10 classes, {train} for training and {test} for testing. It is a
prepared TensorFlow Datasets folder: `tfds.builder_from_directory` on `1.0.0` reads it.

- Training: the first 600 images of each class of `train-images-idx3-ubyte.gz`, in the file's order.
- Test: the first 100 images of each class of `t10k-images-idx3-ubyte.gz`, in the file's order.

Nothing else was changed. It is for tests, examples and first trials; results on it are not results
on Fashion-MNIST.

Made from the Debian package `dataset-fashion-mnist` with

    apt-get install dataset-fashion-mnist
    python tools/make_fashion_mnist_mini.py

The images are PNG, written by Pillow; another version of Pillow may compress them to other bytes,
but to the same pixels.

| SHA-256 | what |
|---|---|
{rows}

The licence is MIT, see `LICENSE`: Copyright © 2017 Zalando SE.
"""


class FashionMnistMini(tfds.core.GeneratorBasedBuilder):
    """A fixed, class-balanced part of Fashion-MNIST."""

    VERSION = tfds.core.Version("1.0.0")

    def __init__(self, *, splits: dict[str, tuple[np.ndarray, np.ndarray]], **kwargs: Any):
        self._splits = splits
        super().__init__(**kwargs)

    def _info(self) -> tfds.core.DatasetInfo:
        return tfds.core.DatasetInfo(
            builder=self,
            description=self.__doc__,
            features=tfds.features.FeaturesDict(
                {
                    "image": tfds.features.Image(shape=(28, 28, 1)),
                    "label": tfds.features.ClassLabel(names=FASHION_MNIST_CLASSES),
                }
            ),
            supervised_keys=("image", "label"),
            homepage="https://github.com/zalandoresearch/fashion-mnist",
            license="MIT, Copyright 2017 Zalando SE",
            disable_shuffling=True,  # keeps the order of the original files
        )

    def _split_generators(self, dl_manager: tfds.download.DownloadManager) -> dict[str, Iterator]:
        return {name: self._generate_examples(*self._splits[name]) for name in PER_CLASS}

    def _generate_examples(self, images: np.ndarray, labels: np.ndarray) -> Iterator:
        examples = zip(images, labels, strict=True)
        for key, (image, label) in enumerate(tqdm(examples, total=len(images), unit="image")):
            png = io.BytesIO()
            Image.fromarray(image[..., 0]).save(png, "PNG", optimize=True)
            png.seek(0)
            yield key, {"image": png, "label": int(label)}


def first_of_each_class(labels: np.ndarray, per_class: int) -> np.ndarray:
    """Indices, ascending, of the first `per_class` labels of every class."""
    chosen = [np.flatnonzero(labels == label)[:per_class] for label in range(10)]
    return np.sort(np.concatenate(chosen))


def make(source: Path, output: Path) -> int:
    """Writes the data set, its licence and its README; returns their size in bytes."""
    splits = {}
    for name, per_class in PER_CLASS.items():
        images, labels = read_idx_split(source, name)
        chosen = first_of_each_class(labels, per_class)
        if len(chosen) != per_class * len(FASHION_MNIST_CLASSES):
            raise ValueError(f"{source}: a class has fewer than {per_class} {name} images.")
        splits[name] = images[chosen], labels[chosen]

    with tempfile.TemporaryDirectory() as scratch:
        builder = FashionMnistMini(splits=splits, data_dir=scratch)
        tfds.disable_progress_bar()  # tqdm below shows one bar per split
        with contextlib.redirect_stdout(io.StringIO()):  # "downloaded to <scratch>" misleads
            builder.download_and_prepare()
        made = Path(builder.data_dir)
        info = json.loads((made / "dataset_info.json").read_text("utf-8"))
        info.pop("moduleName", None)  # only says from where this script was run
        (made / "dataset_info.json").write_text(
            json.dumps(info, indent=2, sort_keys=True) + "\n", "utf-8"
        )
        folder = made.parent
        rows = [
            f"| `{hashlib.sha256(path.read_bytes()).hexdigest()}` | `{path.name}` |"
            for path in sorted(made.glob("*.tfrecord*"))
        ]
        rows += [
            f"| `{hashlib.sha256(splits[name][0].tobytes()).hexdigest()}` "
            f"| the pixels of the {name} images, row by row |"
            for name in PER_CLASS
        ]
        counts = {name: f"{len(labels):,}" for name, (_, labels) in splits.items()}
        (folder / "README.md").write_text(README.format(rows="\n".join(rows), **counts), "utf-8")
        (folder / "LICENSE").write_text(LICENSE, "utf-8")
        size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
        if size >= MAX_BYTES:
            raise ValueError(f"The data set takes {size:,} bytes, the limit is {MAX_BYTES:,}.")
        # An older shard must not stay behind; nothing else in `output` is ours to delete.
        shutil.rmtree(output / made.name, ignore_errors=True)
        shutil.copytree(folder, output, copy_function=shutil.copyfile, dirs_exist_ok=True)
    return size


def main() -> int:
    parser = argparse.ArgumentParser(description="Write the embedded data set.")
    parser.add_argument("--source", type=Path, default=SOURCE, help="folder with the IDX files")
    parser.add_argument("--output", type=Path, default=OUTPUT, help="folder to write")
    arguments = parser.parse_args()
    try:
        size = make(arguments.source, arguments.output)
    except DatasetNotFoundError as error:
        print(f"{error}\nGet the files: apt-get install dataset-fashion-mnist", file=sys.stderr)
        return 1
    except (DatasetCorruptError, ValueError, OSError) as error:
        print(error, file=sys.stderr)
        return 1
    print(f"{arguments.output}: {size:,} bytes")
    return 0


if __name__ == "__main__":
    sys.exit(main())
