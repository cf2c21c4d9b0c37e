"""Loads whole image data sets into memory, from what is already on this machine."""

import dataclasses
import importlib.resources
import os
import re
from pathlib import Path

import numpy as np
import tensorflow as tf
import tensorflow_datasets as tfds

from siman_larq.choices import DATASET_NAMES
from siman_larq.data.errors import DatasetCorruptError, DatasetNotFoundError
from siman_larq.data.idx import read_idx_split

__all__ = ["FASHION_MNIST_CLASSES", "ImageData", "load", "open_builder"]

# Where Debian's `dataset-fashion-mnist` puts its files.
FASHION_MNIST_IDX_DIR = Path("/usr/share/datasets/fashion-mnist")
# The embedded set, made by tools/make_fashion_mnist_mini.py.
FASHION_MNIST_MINI_DIR = Path(
    str(importlib.resources.files("siman_larq.data").joinpath("fashion_mnist_mini/1.0.0"))
)

# TFDS's own fashion_mnist names its classes "0" to "9".
FASHION_MNIST_CLASSES = (
    "T-shirt/top",
    "Trouser",
    "Pullover",
    "Dress",
    "Coat",
    "Sandal",
    "Shirt",
    "Sneaker",
    "Bag",
    "Ankle boot",
)
_REINSTALL = "reinstall the package: pip install --force-reinstall --no-deps siman-larq"


@dataclasses.dataclass(frozen=True, eq=False)
class ImageData:
    """A classification data set, held in memory.

    # Arguments
    name: The name given to `load`.
    train_images: uint8 [N, height, width, channels].
    train_labels: int64 [N].
    test_images: uint8 [M, height, width, channels].
    test_labels: int64 [M].
    num_classes: How many classes there are.
    class_names: One name per class.
    source: Where the data came from, for people to read.
    """

    name: str
    train_images: np.ndarray
    train_labels: np.ndarray
    test_images: np.ndarray
    test_labels: np.ndarray
    num_classes: int
    class_names: tuple[str, ...]
    source: str


def load(
    name: str,
    data_dir: str | os.PathLike | None = None,
    train_examples: int | None = None,
    test_examples: int | None = None,
) -> ImageData:
    """Loads a data set that is on this machine; nothing is ever downloaded.

    `fashion_mnist` is taken from Debian's files where TFDS has no prepared copy. The two sources
    hold the same images in a different order, so `train_examples` then selects other images;
    `ImageData.source` tells which one was read.

    # Arguments
    name: `"cifar10"`, `"cifar100"`, `"fashion_mnist"` or `"fashion_mnist_mini"`.
    data_dir: The TFDS data folder; TFDS's own default if `None`. Not used by the embedded
        `fashion_mnist_mini`.
    train_examples: Take only the first so many training images, in the source's order.
    test_examples: Take only the first so many test images, in the source's order.

    # Returns
    An `ImageData`.

    # Raises
    ValueError: If the name is unknown or a number of examples is out of range.
    DatasetNotFoundError: If the data set is not on this machine.
    DatasetCorruptError: If a file of it is damaged.
    """
    if name not in DATASET_NAMES:
        raise ValueError(f"Unknown data set {name!r}. Known are: {', '.join(DATASET_NAMES)}.")
    data_dir = None if data_dir is None else os.path.expanduser(data_dir)
    data = _load_embedded() if name == "fashion_mnist_mini" else _load_installed(name, data_dir)
    return dataclasses.replace(
        data,
        train_images=_first(data.train_images, train_examples, "train_examples", name),
        train_labels=_first(data.train_labels, train_examples, "train_examples", name),
        test_images=_first(data.test_images, test_examples, "test_examples", name),
        test_labels=_first(data.test_labels, test_examples, "test_examples", name),
    )


def _first(array: np.ndarray, count: int | None, argument: str, name: str) -> np.ndarray:
    if count is None:
        return array
    if not 1 <= count <= len(array):
        raise ValueError(f"{argument}={count}: {name} allows 1 to {len(array)}.")
    return array[:count].copy()  # a view would keep the whole split in memory


def open_builder(name: str, data_dir: str | os.PathLike | None = None) -> tfds.core.DatasetBuilder:
    """The TFDS builder of a data set that is prepared on this machine.

    # Arguments
        name: A data set of TFDS, a folder below `data_dir` that TFDS wrote, or the embedded
            `"fashion_mnist_mini"`.
        data_dir: The TFDS data folder; TFDS's own default if `None`.

    # Raises
        DatasetNotFoundError: If the data set is not on this machine.
        DatasetCorruptError: If its description is damaged.
    """
    if name == "fashion_mnist_mini":
        return _embedded_builder()
    directory = None if data_dir is None else os.path.expanduser(data_dir)
    builder = _builder(name, directory)
    if builder is None or not builder.info.splits:
        raise _not_found(name, directory)
    return builder


def _embedded_builder() -> tfds.core.DatasetBuilder:
    try:
        return tfds.builder_from_directory(FASHION_MNIST_MINI_DIR)
    except FileNotFoundError:
        raise DatasetNotFoundError(
            f"The embedded fashion_mnist_mini is not at {FASHION_MNIST_MINI_DIR}; {_REINSTALL}"
        ) from None
    except Exception as error:  # TFDS's JSON readers raise many kinds
        raise _corrupt(FASHION_MNIST_MINI_DIR / "*.json", error, _REINSTALL) from error


def _load_embedded() -> ImageData:
    data = _read("fashion_mnist_mini", _embedded_builder(), _REINSTALL)
    return dataclasses.replace(data, source="fashion_mnist_mini 1.0.0, embedded in the package")


def _load_installed(name: str, data_dir: str | None) -> ImageData:
    builder = _builder(name, data_dir)
    try:
        if builder is not None:
            cure = f"delete the folder and run: {_preparation(name, data_dir)}"
            return _read(name, builder, cure)
    except AssertionError:  # how TFDS says that nothing is prepared
        pass
    if name == "fashion_mnist" and FASHION_MNIST_IDX_DIR.is_dir():
        return _load_idx(FASHION_MNIST_IDX_DIR)
    raise _not_found(name, data_dir)


def _builder(name: str, data_dir: str | None) -> tfds.core.DatasetBuilder | None:
    """The builder of a data set, prepared or not; `None` for a name that nothing goes by."""
    try:
        return tfds.builder(name, data_dir=data_dir)
    except tfds.core.DatasetNotFoundError:
        return None
    except Exception as error:  # a folder without its JSON files, or with broken ones
        folder = Path(data_dir or tfds.core.constants.DATA_DIR) / name
        cure = f"delete the folder and run: {_preparation(name, data_dir)}"
        raise _corrupt(folder, error, cure) from error


def _preparation(name: str, data_dir: str | None) -> str:
    argument = "" if data_dir is None else f", data_dir={data_dir!r}"
    return f'python -c "import tensorflow_datasets as tfds; tfds.load({name!r}{argument})"'


def _not_found(name: str, data_dir: str | None) -> DatasetNotFoundError:
    looked = str(Path(data_dir or tfds.core.constants.DATA_DIR).expanduser() / name)
    debian = ""
    if name == "fashion_mnist":
        looked += f" and {FASHION_MNIST_IDX_DIR}"
        debian = "On Debian or Ubuntu: apt-get install dataset-fashion-mnist\n"
    return DatasetNotFoundError(
        f"The data set {name} is not on this machine (looked in {looked}).\n"
        f"{debian}"
        f"With a network, prepare it once:\n  {_preparation(name, data_dir)}\n"
        "That may be done on another machine: copy the folder and name it with --data-dir.\n"
        "Without a network, use the embedded set: --dataset fashion_mnist_mini"
    )


def _load_idx(directory: Path) -> ImageData:
    train_images, train_labels = read_idx_split(directory, "train")
    test_images, test_labels = read_idx_split(directory, "test")
    return ImageData(
        name="fashion_mnist",
        train_images=train_images,
        train_labels=train_labels,
        test_images=test_images,
        test_labels=test_labels,
        num_classes=len(FASHION_MNIST_CLASSES),
        class_names=FASHION_MNIST_CLASSES,
        source=f"fashion_mnist, IDX files in {directory}, in the files' order",
    )


def _read(name: str, builder: tfds.core.DatasetBuilder, cure: str) -> ImageData:
    splits = {}
    for split in ("train", "test"):
        try:
            splits[split] = _read_split(builder, split)
        except (tf.errors.OpError, OSError, ValueError) as error:
            path = Path(builder.data_dir) / f"{name}-{split}.tfrecord*"
            raise _corrupt(path, error, cure) from error
    names = builder.info.features["label"].names
    class_names = tuple(names) if name.startswith("cifar") else FASHION_MNIST_CLASSES
    return ImageData(
        name=name,
        train_images=splits["train"]["image"],
        train_labels=splits["train"]["label"],
        test_images=splits["test"]["image"],
        test_labels=splits["test"]["label"],
        num_classes=len(class_names),
        class_names=class_names,
        source=f"{builder.info.full_name}, prepared by TFDS in {builder.data_dir}",
    )


def _read_split(builder: tfds.core.DatasetBuilder, split: str) -> dict[str, np.ndarray]:
    # One shard after another: "the first N" must not depend on how TFDS interleaves them.
    config = tfds.ReadConfig(interleave_cycle_length=1, try_autocache=False)
    with tf.device("/cpu:0"):
        tensors = builder.as_dataset(
            split=split, batch_size=-1, shuffle_files=False, read_config=config
        )
    return tfds.as_numpy(tensors)


def _corrupt(path: Path, error: Exception, cure: str) -> DatasetCorruptError:
    # TensorFlow wraps its reason in the names of graph nodes, which help nobody here.
    reason = re.sub(r"\{\{.*?\}\}|\[Op:.*", "", str(error).strip().split("\n")[0]).strip(" .")
    reason = reason or type(error).__name__
    return DatasetCorruptError(f"{path} is truncated or corrupt ({reason}). The cure: {cure}")
