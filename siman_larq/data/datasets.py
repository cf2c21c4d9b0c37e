"""Loads whole image data sets into memory, from what is already on this machine."""

import importlib.resources
import os
import re
import shlex
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import tensorflow as tf
import tensorflow_datasets as tfds

from siman_larq.choices import DATASET_NAMES, FOLDER
from siman_larq.data.crops import decoded
from siman_larq.data.damage import damage_explained, said_of_left_out
from siman_larq.data.errors import DatasetCorruptError, DatasetNotFoundError
from siman_larq.data.folder import load_folder, open_folder
from siman_larq.data.idx import read_idx_split
from siman_larq.data.images import ImageData
from siman_larq.data.records import ShardRecords, chosen_count, open_shards

__all__ = ["FASHION_MNIST_CLASSES", "load", "open_builder"]

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


def load(
    name: str,
    data_dir: str | os.PathLike | None = None,
    train_examples: int | None = None,
    test_examples: int | None = None,
    skip_damaged: int = 0,
    image_size: int = 32,
    seed: int = 0,
    held_out: int = 0,
) -> ImageData:
    """Loads a data set that is on this machine; nothing is ever downloaded.

    `fashion_mnist` is taken from Debian's files where TFDS has no prepared copy. The two sources
    hold the same images in a different order, so `train_examples` then selects other images;
    `ImageData.source` tells which one was read.

    # Arguments
    name: `"cifar10"`, `"cifar100"`, `"fashion_mnist"`, `"fashion_mnist_mini"`, or `"folder:DIR"`:
        a folder with a folder of pictures for each class, or with two such, `train` and `test`.
    data_dir: The TFDS data folder; TFDS's own default if `None`. Not used by the embedded
        `fashion_mnist_mini`.
    train_examples: Take only the first so many training images, in the source's order.
    test_examples: Take only the first so many test images, in the source's order.
    skip_damaged: Leave out up to so many records that cannot be read or decoded.
    image_size: Height and width of the images; only for a folder of pictures, of which the central
        squares are resized.
    seed: Of the order and the split of a folder of pictures.
    held_out: So many of the last training images take the place of the test images, and
        `train_examples` counts the others. Choose settings by them, and test once all is chosen.

    # Returns
    An `ImageData`.

    # Raises
    ValueError: If the name is unknown, a number of examples is out of range, `held_out` and
        `train_examples` overlap, or the held-out images lack a class.
    DatasetNotFoundError: If the data set is not on this machine.
    DatasetCorruptError: If a file of it is damaged, or more than `skip_damaged` records are.
    """
    if held_out:
        whole = load(name, data_dir, None, None, skip_damaged, image_size, seed)
        return _holding_out(whole, held_out, train_examples, test_examples)
    asked = {"train": train_examples, "test": test_examples}
    if name.startswith(FOLDER):
        folder = open_folder(name, data_dir, seed)
        return load_folder(name, folder, image_size, asked, skip_damaged)
    if name not in DATASET_NAMES:
        raise ValueError(
            f"Unknown data set {name!r}. Known are: {', '.join(DATASET_NAMES)}, and folder:DIR."
        )
    directory = None if data_dir is None else os.path.expanduser(data_dir)
    if name == "fashion_mnist_mini":
        origin = "fashion_mnist_mini 1.0.0, embedded in the package"
        cure = f"The cure: {_REINSTALL}."
        return _read(name, _embedded_builder(), origin, cure, asked, skip_damaged)
    builder = _builder(name, directory)
    if builder is not None and builder.info.splits:
        cure = f"The cure: delete the folder and run: {_preparation(name, directory)}"
        origin = f"{builder.info.full_name}, prepared by TFDS in {builder.data_dir}"
        return _read(name, builder, origin, cure, asked, skip_damaged)
    if name == "fashion_mnist" and FASHION_MNIST_IDX_DIR.is_dir():
        return _load_idx(FASHION_MNIST_IDX_DIR, asked)
    raise _not_found(name, directory)


def _holding_out(
    whole: ImageData, held_out: int, train_examples: int | None, test_examples: int | None
) -> ImageData:
    present = len(whole.train_images)
    if not 1 <= held_out < present:
        raise ValueError(
            f"held_out={held_out}: {whole.name} has {present} training images, which allows 1 to "
            f"{present - 1}."
        )
    first = present - held_out
    if train_examples is not None and train_examples > first:
        raise ValueError(
            f"train_examples={train_examples} and held_out={held_out} overlap, because "
            f"{whole.name} has {present} training images; lower one of them."
        )
    missing = set(whole.train_labels[:first]) - set(whole.train_labels[first:])
    if missing:
        names = ", ".join(whole.class_names[label] for label in sorted(missing))
        raise ValueError(
            f"held_out={held_out}: the last {held_out} training images of {whole.name} show no "
            f"{names}, so they cannot stand for the test images; hold out more."
        )
    trained = chosen_count(whole.name, "train", "train_examples", train_examples, first)
    tested = first + chosen_count(whole.name, "train", "test_examples", test_examples, held_out)
    return replace(
        whole,
        train_images=whole.train_images[:trained],
        train_labels=whole.train_labels[:trained],
        test_images=whole.train_images[first:tested],
        test_labels=whole.train_labels[first:tested],
        source=f"{whole.source}; {held_out} training images held out for the test",
    )


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


def _builder(name: str, data_dir: str | None) -> tfds.core.DatasetBuilder | None:
    """The builder of a data set, prepared or not; `None` for a name that nothing goes by."""
    try:
        return tfds.builder(name, data_dir=data_dir)
    except tfds.core.DatasetNotFoundError:
        return None
    except Exception as error:  # a folder without its JSON files, or with broken ones
        folder = Path(data_dir or tfds.core.constants.DATA_DIR).expanduser() / name
        if not folder.is_dir() or (os.sep in name and os.path.isdir(name)):
            return None
        cure = f"delete the folder and run: {_preparation(name, data_dir)}"
        if not _is_tfds(name):
            cure = "copy the folder again, with its JSON files."
        raise _corrupt(folder, error, cure) from error


def _is_tfds(name: str) -> bool:
    """Whether TFDS itself can prepare a data set of this name."""
    try:
        tfds.builder_cls(name)
    except (tfds.core.DatasetNotFoundError, ValueError):  # the second for what is no name at all
        return False
    return True


def _preparation(name: str, data_dir: str | None) -> str:
    argument = "" if data_dir is None else f", data_dir={data_dir!r}"
    python = shlex.quote(sys.executable)
    return f'{python} -c "import tensorflow_datasets as tfds; tfds.load({name!r}{argument})"'


def _not_found(name: str, data_dir: str | None) -> DatasetNotFoundError:
    looked = str(Path(data_dir or tfds.core.constants.DATA_DIR).expanduser() / name)
    if not _is_tfds(name):
        hint = ""
        if data_dir and Path(data_dir).is_dir() and Path(data_dir).name == name:
            hint = f" The data folder is the one above: --data-dir {Path(data_dir).parent}"
        elif name and Path(name).is_dir():
            hint = f" For a folder of pictures: --dataset {FOLDER}{name}"
        return DatasetNotFoundError(
            f"The data set {name} is not on this machine: {looked} is no folder that TFDS wrote, "
            "with dataset_info.json and features.json, and TFDS knows no data set of this name."
            f"{hint}"
        )
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


def _load_idx(directory: Path, asked: dict[str, int | None]) -> ImageData:
    parts: dict[str, np.ndarray] = {}
    for split, number in asked.items():
        images, labels = read_idx_split(directory, split, len(FASHION_MNIST_CLASSES))
        count = chosen_count("fashion_mnist", split, f"{split}_examples", number, len(images))
        # A view would keep the whole split in memory.
        parts |= {f"{split}_images": images[:count].copy(), f"{split}_labels": labels[:count]}
    return ImageData(
        name="fashion_mnist",
        train_images=parts["train_images"],
        train_labels=parts["train_labels"],
        test_images=parts["test_images"],
        test_labels=parts["test_labels"],
        num_classes=len(FASHION_MNIST_CLASSES),
        class_names=FASHION_MNIST_CLASSES,
        source=f"fashion_mnist, IDX files in {directory}, in the files' order",
    )


def _read(
    name: str,
    builder: tfds.core.DatasetBuilder,
    origin: str,
    cure: str,
    asked: dict[str, int | None],
    skip_damaged: int,
) -> ImageData:
    wanted = {f"{split}_examples": (split, number) for split, number in asked.items()}
    train, test = open_shards(builder, wanted, cure, skip_damaged)
    train_images, train_labels = _in_memory(train)
    test_images, test_labels = _in_memory(test)
    names = tuple(builder.info.features["label"].names)
    class_names = names if name.startswith("cifar") else FASHION_MNIST_CLASSES
    left_out = train.left_out + test.left_out
    return ImageData(
        name=name,
        train_images=train_images,
        train_labels=train_labels,
        test_images=test_images,
        test_labels=test_labels,
        num_classes=len(class_names),
        class_names=class_names,
        source=origin + said_of_left_out(left_out),
        left_out=tuple(map(str, left_out)),
    )


def _in_memory(records: ShardRecords) -> tuple[np.ndarray, np.ndarray]:
    shape = records.features["image"].shape

    def decode(encoded: tf.Tensor, label: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        return tf.ensure_shape(decoded(encoded, shape[2]), shape), label

    images = records.in_order().map(decode, num_parallel_calls=tf.data.AUTOTUNE)
    with damage_explained(records):
        parts = list(images.batch(1024).as_numpy_iterator())
    return np.concatenate([x for x, _ in parts]), np.concatenate([y for _, y in parts])


def _corrupt(path: Path, error: Exception, cure: str) -> DatasetCorruptError:
    # TensorFlow wraps its reason in the names of graph nodes, which help nobody here.
    reason = re.sub(r"\{\{.*?\}\}|\[Op:.*", "", str(error).strip().split("\n")[0]).strip(" .")
    reason = reason or type(error).__name__
    return DatasetCorruptError(f"{path} is truncated or corrupt ({reason}). The cure: {cure}")
