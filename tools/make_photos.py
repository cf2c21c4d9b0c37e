"""Writes a small data set of real photographs, in TFDS's format and shaped like ImageNet.

    pip install "scikit-image<0.25"
    python tools/make_photos.py --output data

The photographs are those that the scikit-image wheel ships (public domain and CC0, listed in its
skimage/data/README.txt). Every image is a random part of one of them, as a JPEG of 500 x 375 or
375 x 500 pixels and about 100 kB, as most of ImageNet's are, and its class is the photograph. What
a network reaches on it says that training works and nothing more.
"""

import contextlib
import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import numpy as np
import tensorflow_datasets as tfds
from PIL import Image
from skimage import data
from tqdm import tqdm

PHOTOS = {
    "astronaut": data.astronaut,
    "bricks": data.brick,
    "cat": data.chelsea,
    "coffee": data.coffee,
    "galaxies": data.hubble_deep_field,
    "grass": data.grass,
    "gravel": data.gravel,
    "motorcycle": lambda: data.stereo_motorcycle()[0],
    "retina": data.retina,
    "rocket": data.rocket,
}
LONG, SHORT = 500, 375


class Photos(tfds.core.GeneratorBasedBuilder):
    """Random parts of ten photographs, as encoded JPEGs."""

    VERSION = tfds.core.Version("1.0.0")

    def __init__(self, *, per_class: dict[str, int], **kwargs: Any):
        self._per_class = per_class
        super().__init__(**kwargs)

    def _info(self) -> tfds.core.DatasetInfo:
        return tfds.core.DatasetInfo(
            builder=self,
            description=self.__doc__,
            features=tfds.features.FeaturesDict(
                {
                    "file_name": tfds.features.Text(),
                    "image": tfds.features.Image(encoding_format="jpeg"),
                    "label": tfds.features.ClassLabel(names=list(PHOTOS)),
                }
            ),
            supervised_keys=("image", "label"),
            homepage="https://scikit-image.org",
            license="Public domain and CC0; see skimage/data/README.txt of scikit-image",
        )

    def _split_generators(self, dl_manager: tfds.download.DownloadManager) -> dict[str, Iterator]:
        splits = enumerate(self._per_class.items())
        return {split: self._generate_examples(count, seed) for seed, (split, count) in splits}

    def _generate_examples(self, per_class: int, seed: int) -> Iterator:
        for name, file_name, jpeg in random_parts(per_class, seed):
            yield file_name, {"file_name": file_name, "image": jpeg, "label": name}


def random_parts(per_class: int, seed: int) -> Iterator[tuple[str, str, io.BytesIO]]:
    """Class, file name and JPEG of so many random parts of each photograph."""
    draw = np.random.default_rng(seed)
    for name, photograph in tqdm(PHOTOS.items(), unit="class"):
        image = Image.fromarray(photograph()).convert("RGB")
        for number in range(per_class):
            yield name, f"{name}-{number:05d}.jpg", random_part(image, draw)


def random_part(image: Image.Image, draw: np.random.Generator) -> io.BytesIO:
    """A random part of an image, as a JPEG."""
    size = (LONG, SHORT) if draw.random() < 0.5 else (SHORT, LONG)
    scale = draw.uniform(0.6, 1.0) * min(a / b for a, b in zip(image.size, size, strict=True))
    part = [side * scale for side in size]
    left, top = (draw.uniform(0, a - b) for a, b in zip(image.size, part, strict=True))
    box = (left, top, left + part[0], top + part[1])
    jpeg = io.BytesIO()
    image.resize(size, Image.Resampling.BICUBIC, box).save(jpeg, "JPEG", quality=98)
    jpeg.seek(0)
    return jpeg


def make(output: Path, per_class: int, test_per_class: int, shards: int) -> Path:
    """Writes the data set below `output`; returns its folder."""
    counts = {"train": per_class, "validation": test_per_class}
    builder = Photos(per_class=counts, data_dir=output)
    _check_new(Path(builder.data_dir))  # TFDS would leave what is there
    tfds.disable_progress_bar()  # tqdm shows one bar per split
    config = tfds.download.DownloadConfig(num_shards=shards)
    with contextlib.redirect_stdout(io.StringIO()):
        builder.download_and_prepare(download_config=config)
    return Path(builder.data_dir)


def make_folders(output: Path, per_class: int) -> Path:
    """Writes the pictures as files, with a folder for each class; returns the folder of all."""
    _check_new(output / "pictures")
    for name, file_name, jpeg in random_parts(per_class, seed=0):
        path = output / "pictures" / name / file_name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(jpeg.getvalue())
    return output / "pictures"


def _check_new(folder: Path) -> None:
    if folder.exists():
        raise click.ClickException(f"{folder} is there already; remove it, or use --output.")


@click.command(context_settings={"show_default": True})
@click.option(
    "--output", type=click.Path(path_type=Path), default=Path("data"), help="Data folder."
)
@click.option("--per-class", default=60, help="Training images of each of the 10 classes.")
@click.option("--test-per-class", default=10, help="Test images of each class.")
@click.option("--shards", default=4, help="Files of a split.")
@click.option("--folders", is_flag=True, help="Write `pictures`, a folder of JPEGs per class.")
def main(output: Path, per_class: int, test_per_class: int, shards: int, folders: bool) -> None:
    """Writes the data set `photos`."""
    if folders:
        click.echo(make_folders(output, per_class))
    else:
        click.echo(make(output, per_class, test_per_class, shards))


if __name__ == "__main__":
    main()
