"""Tests of the data sets and the input pipelines."""

import gzip
import importlib.util
import itertools
import shlex
import shutil
import struct
import sys
from hashlib import sha256
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_datasets as tfds
from hypothesis import given, settings
from hypothesis import strategies as st

from siman_larq import data as sd
from siman_larq.data import datasets, idx

MEAN = np.array([0.485, 0.456, 0.406])
STD = np.array([0.229, 0.224, 0.225])
MINI = Path(datasets.__file__).parent / "fashion_mnist_mini"
TRAIN_SHARD = "fashion_mnist_mini-train.tfrecord-00000-of-00001"
DEBIAN = Path("/usr/share/datasets/fashion-mnist")


@pytest.fixture(scope="module")
def mini():
    return sd.load("fashion_mnist_mini")


def make_data(count=20, size=6, channels=3, seed=0):
    random = np.random.default_rng(seed)
    images = random.integers(0, 256, (count, size, size, channels), dtype=np.uint8)
    labels = np.arange(count, dtype=np.int64)
    return sd.ImageData("made", images, labels, images, labels, count, ("c",) * count, "test")


def idx_bytes(array, magic=(0, 0, 8)):
    header = bytes([*magic, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape)
    return header + array.tobytes()


def write_idx(path, array, **kwargs):
    path.write_bytes(gzip.compress(idx_bytes(array, **kwargs)))


@pytest.fixture
def idx_dir(tmp_path, monkeypatch):
    """A tiny Fashion-MNIST in IDX files, in place of Debian's."""
    folder = tmp_path / "idx"
    folder.mkdir()
    random = np.random.default_rng(3)
    for prefix, count in (("train", 12), ("t10k", 5)):
        images = random.integers(0, 256, (count, 28, 28), dtype=np.uint8)
        write_idx(folder / f"{prefix}-images-idx3-ubyte.gz", images)
        write_idx(folder / f"{prefix}-labels-idx1-ubyte.gz", np.arange(count, dtype=np.uint8) % 10)
    monkeypatch.setattr(datasets, "FASHION_MNIST_IDX_DIR", folder)
    return folder


@pytest.fixture
def mini_copy(tmp_path, monkeypatch):
    folder = tmp_path / "1.0.0"
    shutil.copytree(MINI / "1.0.0", folder)
    monkeypatch.setattr(datasets, "FASHION_MNIST_MINI_DIR", folder)
    return folder


def prepare_cifar10(data_dir, count=8):
    """Writes a small data set to where TFDS looks for cifar10; returns its training images."""
    real = tfds.builder("cifar10", data_dir=data_dir)
    images = np.random.default_rng(1).integers(0, 256, (count, 32, 32, 3), dtype=np.uint8)

    class Cifar10(tfds.core.GeneratorBasedBuilder, skip_registration=True):
        VERSION = real.version

        def _info(self):
            features = {
                "id": tfds.features.Text(),
                "image": tfds.features.Image(shape=(32, 32, 3)),
                "label": tfds.features.ClassLabel(names=[f"class {i}" for i in range(10)]),
            }
            return tfds.core.DatasetInfo(
                builder=self,
                features=tfds.features.FeaturesDict(features),
                disable_shuffling=True,
            )

        def _split_generators(self, dl_manager):
            return {"train": self._generate_examples(), "test": self._generate_examples()}

        def _generate_examples(self):
            for i, image in enumerate(images):
                yield i, {"id": str(i), "image": image, "label": i % 10}

    Cifar10(data_dir=data_dir).download_and_prepare()
    return images


# The embedded set.


def test_mini_counts_and_balance(mini):
    assert mini.train_images.shape == (6000, 28, 28, 1)
    assert mini.test_images.shape == (1000, 28, 28, 1)
    assert mini.train_images.dtype == mini.test_images.dtype == np.uint8
    assert mini.train_labels.dtype == mini.test_labels.dtype == np.int64
    np.testing.assert_array_equal(np.bincount(mini.train_labels), [600] * 10)
    np.testing.assert_array_equal(np.bincount(mini.test_labels), [100] * 10)
    assert mini.num_classes == len(mini.class_names) == 10
    assert mini.class_names[9] == "Ankle boot"
    assert "embedded" in mini.source


def test_mini_is_small_and_licensed():
    assert sum(p.stat().st_size for p in MINI.rglob("*") if p.is_file()) < 4_000_000
    licence = (MINI / "LICENSE").read_text("utf-8")
    assert "Copyright © 2017 Zalando SE" in licence
    assert "The above copyright notice and this permission notice shall be included" in licence


def test_mini_readme_has_the_checksums(mini):
    readme = (MINI / "README.md").read_text("utf-8")
    for shard in (MINI / "1.0.0").glob("*.tfrecord*"):
        assert f"| `{sha256(shard.read_bytes()).hexdigest()}` | `{shard.name}` |" in readme
    for images in (mini.train_images, mini.test_images):
        assert sha256(images.tobytes()).hexdigest() in readme


@pytest.mark.skipif(not DEBIAN.is_dir(), reason="dataset-fashion-mnist is not installed")
@pytest.mark.parametrize(("split", "per_class"), [("train", 600), ("test", 100)])
def test_mini_equals_debians_files(mini, split, per_class):
    images, labels = idx.read_idx_split(DEBIAN, split)
    seen = np.zeros(10, int)
    chosen = []
    for i, label in enumerate(labels):
        if seen[label] < per_class:
            chosen.append(i)
        seen[label] += 1
    np.testing.assert_array_equal(getattr(mini, f"{split}_images"), images[chosen])
    np.testing.assert_array_equal(getattr(mini, f"{split}_labels"), labels[chosen])


def test_script_needs_debians_files(tmp_path, capsys, monkeypatch):
    path = Path(__file__).parents[1] / "tools" / "make_fashion_mnist_mini.py"
    spec = importlib.util.spec_from_file_location("make_fashion_mnist_mini", path)
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    monkeypatch.setattr(
        "sys.argv", ["x", "--source", str(tmp_path), "--output", str(tmp_path / "out")]
    )
    assert script.main() == 1
    assert "apt-get install dataset-fashion-mnist" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


# load()


def test_load_takes_the_first_examples(mini):
    part = sd.load("fashion_mnist_mini", train_examples=7, test_examples=3)
    np.testing.assert_array_equal(part.train_images, mini.train_images[:7])
    np.testing.assert_array_equal(part.train_labels, mini.train_labels[:7])
    np.testing.assert_array_equal(part.test_images, mini.test_images[:3])
    np.testing.assert_array_equal(part.test_labels, mini.test_labels[:3])


@pytest.mark.parametrize("count", [0, -1, 13])
@pytest.mark.parametrize(("argument", "limit"), [("train_examples", 12), ("test_examples", 5)])
def test_load_rejects_a_wrong_number_of_examples(tmp_path, idx_dir, argument, limit, count):
    with pytest.raises(ValueError, match=f"{argument}={count}: fashion_mnist allows 1 to {limit}"):
        sd.load("fashion_mnist", tmp_path, **{argument: count})


def test_load_rejects_an_unknown_name():
    with pytest.raises(ValueError, match=r"'imagenet'.*cifar10, cifar100, fashion_mnist, fashion"):
        sd.load("imagenet")


@pytest.mark.parametrize("name", ["cifar10", "cifar100"])
def test_load_explains_absent_data(tmp_path, name):
    with pytest.raises(sd.DatasetNotFoundError) as caught:
        sd.load(name, tmp_path)
    message = str(caught.value)
    assert f"The data set {name} is not on this machine (looked in {tmp_path}/{name}" in message
    command = f"import tensorflow_datasets as tfds; tfds.load('{name}', data_dir='{tmp_path}')"
    assert f'{shlex.quote(sys.executable)} -c "{command}"' in message
    assert "--data-dir" in message
    assert "--dataset fashion_mnist_mini" in message
    assert "apt-get" not in message
    assert caught.value.__suppress_context__ or caught.value.__context__ is None


def test_load_explains_absent_fashion_mnist(tmp_path, monkeypatch):
    monkeypatch.setattr(datasets, "FASHION_MNIST_IDX_DIR", tmp_path / "none")
    with pytest.raises(sd.DatasetNotFoundError) as caught:
        sd.load("fashion_mnist", tmp_path)
    message = str(caught.value)
    assert "apt-get install dataset-fashion-mnist" in message
    assert str(tmp_path / "none") in message
    assert f"tfds.load('fashion_mnist', data_dir='{tmp_path}')" in message


def test_load_through_tfds(tmp_path):
    images = prepare_cifar10(tmp_path)
    data = sd.load("cifar10", tmp_path, train_examples=5)
    np.testing.assert_array_equal(data.train_images, images[:5])
    np.testing.assert_array_equal(data.train_labels, range(5))
    np.testing.assert_array_equal(data.test_images, images)
    assert data.train_labels.dtype == np.int64
    assert data.num_classes == 10
    assert data.class_names[9] == "class 9"
    assert data.source.startswith("cifar10/")


def test_load_names_truncated_tfds_data(tmp_path):
    prepare_cifar10(tmp_path)
    (shard,) = tmp_path.rglob("cifar10-test.tfrecord*")
    shard.write_bytes(shard.read_bytes()[:-9])
    with pytest.raises(sd.DatasetCorruptError, match=r"cifar10-test\.tfrecord.*tfds\.load\('cifar"):
        sd.load("cifar10", tmp_path)


@pytest.mark.parametrize("content", [None, "{", "{}"])
def test_load_names_a_folder_with_broken_metadata(tmp_path, content):
    prepare_cifar10(tmp_path)
    (info,) = tmp_path.rglob("dataset_info.json")
    info.unlink() if content is None else info.write_text(content)
    with pytest.raises(sd.DatasetCorruptError, match=r"cifar10.*delete the folder and run"):
        sd.load("cifar10", tmp_path)


def first_record_end(content):
    # A TFRecord is: length (8 bytes), its checksum (4), the data, its checksum (4).
    return 16 + struct.unpack("<Q", content[:8])[0]


@pytest.mark.parametrize("damage", ["middle", "boundary", "empty", "flipped", "absent"])
def test_load_names_a_damaged_embedded_file(mini_copy, damage):
    shard = mini_copy / TRAIN_SHARD
    content = shard.read_bytes()
    if damage == "middle":
        shard.write_bytes(content[: len(content) // 2])
    elif damage == "boundary":
        shard.write_bytes(content[: first_record_end(content)])
    elif damage == "empty":
        shard.write_bytes(b"")
    elif damage == "flipped":
        shard.write_bytes(content[:100] + bytes([content[100] ^ 1]) + content[101:])
    else:
        shard.unlink()
    with pytest.raises(sd.DatasetCorruptError, match=r"mini-train\.tfrecord.*pip install"):
        sd.load("fashion_mnist_mini")


def test_load_explains_an_absent_embedded_set(tmp_path, monkeypatch):
    monkeypatch.setattr(datasets, "FASHION_MNIST_MINI_DIR", tmp_path / "none")
    with pytest.raises(sd.DatasetNotFoundError, match="pip install --force-reinstall"):
        sd.load("fashion_mnist_mini")


def test_load_names_broken_embedded_metadata(mini_copy):
    (mini_copy / "dataset_info.json").write_text("{")
    with pytest.raises(sd.DatasetCorruptError, match="pip install --force-reinstall"):
        sd.load("fashion_mnist_mini")


# Fashion-MNIST from IDX files.


def test_fashion_mnist_falls_back_to_idx(tmp_path, idx_dir):
    data = sd.load("fashion_mnist", tmp_path, train_examples=4)
    images = idx.read_idx(idx_dir / "train-images-idx3-ubyte.gz")
    assert images.shape == (12, 28, 28)
    np.testing.assert_array_equal(data.train_images, images[:4, ..., np.newaxis])
    np.testing.assert_array_equal(data.train_labels, [0, 1, 2, 3])
    assert data.test_images.shape == (5, 28, 28, 1)
    assert data.train_labels.dtype == np.int64
    assert data.num_classes == 10
    assert str(idx_dir) in data.source


@pytest.mark.parametrize("keep", [0, 3, 30, -1])
def test_truncated_idx(tmp_path, idx_dir, keep):
    path = idx_dir / "train-images-idx3-ubyte.gz"
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(sd.DatasetCorruptError, match=r"train-images-idx3-ubyte\.gz.*reinstall"):
        sd.load("fashion_mnist", tmp_path)


@pytest.mark.parametrize(
    "content", [b"", b"\0\0", b"\0\0\x08\x03\0\0", idx_bytes(np.zeros((2, 2), np.uint8))[:-1]]
)
def test_idx_content_cut_short(tmp_path, content):
    path = tmp_path / "x.gz"
    path.write_bytes(gzip.compress(content))
    with pytest.raises(sd.DatasetCorruptError, match=r"x\.gz is truncated or corrupt"):
        idx.read_idx(path)


def test_idx_bad_magic(tmp_path):
    write_idx(tmp_path / "x.gz", np.zeros(3, np.uint8), magic=(0, 0, 13))
    with pytest.raises(sd.DatasetCorruptError, match=r"'00 00 0d 01' is not IDX"):
        idx.read_idx(tmp_path / "x.gz")


def test_idx_files_that_do_not_belong_together(tmp_path, idx_dir):
    write_idx(idx_dir / "t10k-labels-idx1-ubyte.gz", np.zeros(4, np.uint8))
    with pytest.raises(sd.DatasetCorruptError, match=r"t10k-labels.*5 images but labels"):
        sd.load("fashion_mnist", tmp_path)
    write_idx(idx_dir / "t10k-images-idx3-ubyte.gz", np.zeros(4, np.uint8))
    with pytest.raises(sd.DatasetCorruptError, match=r"t10k-images.*3 dimensions"):
        sd.load("fashion_mnist", tmp_path)


def test_one_absent_idx_file(tmp_path, idx_dir):
    (idx_dir / "t10k-labels-idx1-ubyte.gz").unlink()
    with pytest.raises(sd.DatasetNotFoundError, match=r"t10k-labels-idx1-ubyte\.gz"):
        sd.load("fashion_mnist", tmp_path)


# Pipelines.


def batches(dataset):
    return [(x.numpy(), y.numpy()) for x, y in dataset]


def assert_same(left, right):
    assert len(left) == len(right)
    for (x, y), (u, v) in zip(left, right, strict=True):
        np.testing.assert_array_equal(x, u)
        np.testing.assert_array_equal(y, v)


@settings(max_examples=8, deadline=None)
@given(
    count=st.integers(1, 30),
    batch_share=st.floats(0, 1),
    seed=st.integers(-(2**63), 2**63 - 1),
    first_epoch=st.integers(0, 3),
    augmentation=st.sampled_from(("crop", "flip", "none")),
)
def test_resuming_continues_the_unbroken_run(count, batch_share, seed, first_epoch, augmentation):
    data = make_data(count)
    batch_size = 1 + round(batch_share * (count - 1))
    options = {
        "batch_size": batch_size,
        "image_shape": (6, 6, 3),
        "seed": seed,
        "epochs": 3,
        "augmentation": augmentation,
    }
    unbroken = batches(sd.train_batches(data, first_epoch=0, **options))
    resumed = sd.train_batches(data, first_epoch=first_epoch, **options)
    steps = sd.steps_per_epoch(count, batch_size)
    assert len(resumed) == (3 - first_epoch) * steps
    assert_same(batches(resumed), unbroken[first_epoch * steps :])


def test_epochs_are_different_full_permutations():
    data = make_data(20)
    options = {"batch_size": 5, "image_shape": (6, 6, 3), "first_epoch": 0, "epochs": 2}
    labels = [y for _, y in batches(sd.train_batches(data, seed=1, **options))]
    first, second = np.concatenate(labels[:4]), np.concatenate(labels[4:])
    assert sorted(first) == sorted(second) == list(range(20))
    assert list(first) != list(second)
    other = [y for _, y in batches(sd.train_batches(data, seed=2, **options))]
    assert list(np.concatenate(other[:4])) != list(first)


def test_unaugmented_batches_pair_images_with_labels():
    data = make_data(9)
    prepared = sd.prepare(data.train_images, (8, 8, 3))
    options = {"batch_size": 4, "image_shape": (8, 8, 3), "first_epoch": 0, "epochs": 1}
    for x, y in batches(sd.train_batches(data, seed=0, augmentation="none", **options)):
        assert x.shape == (4, 8, 8, 3)
        assert x.dtype == np.float32
        assert y.dtype == np.int64
        np.testing.assert_array_equal(x, prepared[y])


@pytest.mark.parametrize(("channels", "out_channels"), [(1, 1), (1, 3), (3, 3)])
@pytest.mark.parametrize("augmentation", ["crop", "flip"])
def test_augmentation_makes_every_crop_and_flip_and_nothing_else(
    channels, out_channels, augmentation
):
    # 3x2 images of distinct pixels in a 4x3 shape: 9 * 9 crops, each also flipped.
    size = 3 * 2 * channels
    image = np.arange(1, size + 1, dtype=np.uint8).reshape(1, 3, 2, channels) * 10
    count = 4000
    data = sd.ImageData(
        "made", image.repeat(count, 0), np.zeros(count, np.int64), image, np.zeros(1), 1, ("c",), ""
    )
    padded = np.pad(image[0], [(4, 5), (4, 5), (0, 0)])  # odd padding goes below and to the right
    shape = (4, 3, out_channels)
    crops = np.stack(
        [padded[i : i + 4, j : j + 3] for i, j in itertools.product(range(9), repeat=2)]
    )
    if augmentation == "flip":
        crops = crops[[4 * 9 + 4]]  # the one that has all of the image
    allowed = sd.prepare(np.concatenate([crops, crops[:, :, ::-1]]), shape)
    allowed = {crop.tobytes() for crop in allowed}
    dataset = sd.train_batches(
        data,
        batch_size=count,
        image_shape=shape,
        seed=5,
        first_epoch=0,
        epochs=1,
        augmentation=augmentation,
    )
    ((outputs, _),) = batches(dataset)
    assert {output.tobytes() for output in outputs} == allowed


def test_augmentation_differs_between_steps_and_epochs():
    image = np.arange(36, dtype=np.uint8).reshape(1, 6, 6, 1)
    data = sd.ImageData(
        "made", image.repeat(8, 0), np.zeros(8, np.int64), image, np.zeros(1), 1, ("c",), ""
    )
    options = {"batch_size": 4, "image_shape": (6, 6, 1), "first_epoch": 0, "epochs": 2}
    outputs = [x.tobytes() for x, _ in batches(sd.train_batches(data, seed=0, **options))]
    assert len(set(outputs)) == 4


def test_prepare_normalises():
    image = np.array([0, 51, 255], np.uint8).reshape(1, 1, 1, 3)
    expected = (np.array([0.0, 0.2, 1.0]) - MEAN) / STD
    np.testing.assert_allclose(sd.prepare(image, (1, 1, 3))[0, 0, 0], expected, atol=1e-6)
    grey = np.full((1, 1, 1, 1), 51, np.uint8)
    np.testing.assert_allclose(sd.prepare(grey, (1, 1, 1)).item(), (0.2 - 0.449) / 0.226, 1e-6)


def test_prepare_pads_fashion_mnist(mini):
    prepared = sd.prepare(mini.test_images[:10])
    assert prepared.shape == (10, 32, 32, 3)
    assert prepared.dtype == np.float32
    pixels = prepared * STD + MEAN
    inside = pixels[:, 2:30, 2:30]
    np.testing.assert_allclose(inside, (mini.test_images[:10] / 255).repeat(3, -1), atol=1e-6)
    pixels[:, 2:30, 2:30] = 0
    np.testing.assert_allclose(pixels, 0, atol=1e-6)


def test_eval_batches_are_prepared_images_in_order(mini):
    images, labels = mini.test_images[:70], mini.test_labels[:70]
    dataset = sd.eval_batches(images, labels, batch_size=32)
    found = batches(dataset)
    assert [len(x) for x, _ in found] == [32, 32, 6]
    np.testing.assert_array_equal(np.concatenate([x for x, _ in found]), sd.prepare(images))
    np.testing.assert_array_equal(np.concatenate([y for _, y in found]), labels)
    assert_same(found, batches(dataset))


def test_batches_have_static_shapes():
    data = make_data(9)
    dataset = sd.train_batches(
        data, batch_size=4, image_shape=(6, 6, 3), seed=0, first_epoch=0, epochs=1
    )
    assert dataset.element_spec == (
        tf.TensorSpec((4, 6, 6, 3), tf.float32),
        tf.TensorSpec((4,), tf.int64),
    )
    dataset = sd.eval_batches(
        data.test_images, data.test_labels, batch_size=4, image_shape=(6, 6, 3)
    )
    assert dataset.element_spec[0] == tf.TensorSpec((None, 6, 6, 3), tf.float32)


def test_steps_per_epoch():
    assert sd.steps_per_epoch(100, 30) == 3
    assert sd.steps_per_epoch(30, 30) == 1
    for batch_size in (31, 0):
        with pytest.raises(ValueError, match=f"batch_size={batch_size} does not fit 30 training"):
            sd.steps_per_epoch(30, batch_size)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"batch_size": 21}, "batch_size=21 does not fit 20 training images"),
        ({"image_shape": (5, 6, 3)}, "6x6 pixels are larger"),
        ({"image_shape": (6, 6, 1)}, "3 channels cannot be given"),
        ({"image_shape": (6, 6, 2)}, "must be 1 or 3"),
        ({"first_epoch": 3}, "first_epoch=3 must be from 0 to epochs=2"),
        ({"first_epoch": -1}, "first_epoch=-1"),
        ({"augmentation": "mirror"}, "augmentation='mirror' is unknown; use one of crop, flip, no"),
    ],
)
def test_train_batches_rejects(change, message):
    options = {
        "batch_size": 4,
        "image_shape": (6, 6, 3),
        "seed": 0,
        "first_epoch": 0,
        "epochs": 2,
    }
    with pytest.raises(ValueError, match=message):
        sd.train_batches(make_data(), **{**options, **change})


def test_eval_and_prepare_reject():
    data = make_data()
    with pytest.raises(ValueError, match="batch_size=0"):
        sd.eval_batches(data.test_images, data.test_labels, batch_size=0)
    with pytest.raises(ValueError, match="larger than image_shape"):
        sd.prepare(data.test_images, (4, 4, 3))
    with pytest.raises(ValueError, match="height, width, channels"):
        sd.prepare(data.test_images[0], (6, 6, 3))
