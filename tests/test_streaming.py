"""Images that stream: what a crop is, which images come when, what is said of broken data."""

import io
import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from siman_larq import data
from siman_larq.data import DatasetCorruptError, DatasetNotFoundError
from siman_larq.data.streaming import central_crop, random_crop
from siman_larq.training.images import same_images

SHAPE = (32, 32, 3)


def encode(pixels, kind):
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, kind, quality=95)
    return tf.constant(buffer.getvalue())


def ramp(height, width):
    """Red counts columns and green rows, so that a crop shows where it was taken."""
    pixels = np.zeros((height, width, 3), np.uint8)
    pixels[..., 0] = np.linspace(0, 255, width)[None, :]
    pixels[..., 1] = np.linspace(0, 255, height)[:, None]
    return pixels


class TestCrops:
    @pytest.mark.parametrize("kind", ["JPEG", "PNG"])
    @pytest.mark.parametrize("size", [(100, 60), (31, 90), (224, 224)])
    def test_central(self, kind, size):
        image = central_crop(encode(ramp(*size), kind), SHAPE).numpy()
        assert image.shape == SHAPE
        # 7/8 of the shorter side, in the middle of both axes.
        side = int(min(size) * 0.875)
        for channel, length in ((0, size[1]), (1, size[0])):
            values = image[..., channel]
            span = 255 * side / length
            assert values.min() == pytest.approx(127.5 - span / 2, abs=8)
            assert values.max() == pytest.approx(127.5 + span / 2, abs=8)

    def test_kinds_of_files_agree(self):
        pixels = ramp(120, 90)
        seed = tf.constant([1, 2], tf.int64)
        crops = [random_crop(encode(pixels, kind), SHAPE, seed).numpy() for kind in ("JPEG", "PNG")]
        assert np.abs(crops[0] - crops[1]).mean() < 3

    def test_random_ones_are_official_in_area_aspect_and_flip(self):
        encoded = encode(ramp(200, 300), "PNG")
        areas, aspects, flips = [], [], 0
        for number in range(200):
            seed = tf.constant([0, number], tf.int64)
            image = random_crop(encoded, SHAPE, seed).numpy()
            flips += image[0, 0, 0] > image[0, -1, 0]
            # From centre to centre of the outermost pixels: 31 of 32 parts of a side.
            wide = abs(image[0, -1, 0] - image[0, 0, 0]) / 255 * 300 * 32 / 31
            tall = (image[-1, 0, 1] - image[0, 0, 1]) / 255 * 200 * 32 / 31
            areas.append(wide * tall / 60_000)
            aspects.append(wide / tall)
        assert 0.06 < min(areas) < 0.2
        assert 0.6 < max(areas) < 1.1
        assert 0.7 < min(aspects) < 0.85
        assert 1.15 < max(aspects) < 1.45
        assert 70 < flips < 130

    def test_same_seed_same_crop(self):
        encoded = encode(ramp(80, 70), "JPEG")
        first, again, other = (
            random_crop(encoded, SHAPE, tf.constant([3, n], tf.int64)).numpy() for n in (1, 1, 2)
        )
        np.testing.assert_array_equal(first, again)
        assert not np.array_equal(first, other)

    def test_grey_images_get_three_channels(self):
        grey = np.tile(np.arange(64, dtype=np.uint8), (64, 1))
        image = central_crop(encode(grey, "JPEG"), SHAPE).numpy()
        np.testing.assert_array_equal(image[..., 0], image[..., 2])


class TestSource:
    def test_reads_what_tfds_wrote(self, photos):
        source = data.stream("photos", photos)
        assert (source.num_classes, source.train_count, source.test_count) == (10, 60, 20)
        assert source.class_names[2] == "cat"
        images, labels = source.test_sample(7, (64, 64, 3))
        assert images.shape == (7, 64, 64, 3)
        assert images.dtype == np.float32
        assert -2.2 < images.min() < images.max() < 2.7
        assert labels.shape == (7,)

    def test_every_epoch_has_every_image_once_and_an_order_of_its_own(self, photos):
        source = data.stream("photos", photos)
        batches = source.train_batches(
            batch_size=60, image_shape=SHAPE, seed=1, first_epoch=0, epochs=3, shuffle_buffer=16
        )
        labels = [labels.numpy() for _, labels in batches]
        assert len(labels) == 3
        for epoch in labels:
            np.testing.assert_array_equal(np.bincount(epoch), np.full(10, 6))
        assert not np.array_equal(labels[0], labels[1])
        assert not np.array_equal(labels[1], labels[2])

    @pytest.mark.parametrize("global_seed", [0, 5])
    def test_batches_do_not_depend_on_tensorflows_seed(self, photos, global_seed):
        def first_batch():
            source = data.stream("photos", photos)
            settings = {"batch_size": 8, "image_shape": SHAPE, "seed": 0}
            return next(iter(source.train_batches(first_epoch=0, epochs=1, **settings)))[0].numpy()

        tf.random.set_seed(11)
        expected = first_batch()
        tf.random.set_seed(global_seed)
        np.testing.assert_array_equal(first_batch(), expected)

    def test_the_first_examples_are_always_the_same(self, photos):
        source = data.stream("photos", photos, train_examples=10, test_examples=3)
        assert (source.train_count, source.test_count) == (10, 3)
        settings = {"batch_size": 10, "image_shape": SHAPE, "seed": 2}
        epochs = source.train_batches(first_epoch=0, epochs=2, **settings)
        one, two = (np.sort(labels.numpy()) for _, labels in epochs)
        np.testing.assert_array_equal(one, two)
        assert len(source.test_sample(100, SHAPE)[1]) == 3

    def test_erased_rectangles(self, photos):
        settings = {"batch_size": 8, "image_shape": SHAPE, "seed": 2, "shuffle_buffer": 16}
        plain = data.stream("photos", photos)
        source = replace(plain, erasing=0.5)
        found, whole, resumed = (
            [x.numpy() for x, _ in one.train_batches(first_epoch=first, epochs=2, **settings)]
            for one, first in ((source, 0), (plain, 0), (source, 1))
        )
        black = data.prepare(np.zeros((1, 1, 1, 3), np.uint8), (1, 1, 3))[0, 0, 0]
        erased = []
        for image, expected in zip(np.concatenate(found), np.concatenate(whole), strict=True):
            changed = (image != expected).any(-1)
            rows, columns = changed.any(1), changed.any(0)
            np.testing.assert_allclose(image[rows][:, columns] - black, 0, atol=1e-5)
            erased.append(changed.mean())
        assert 0.3 < np.mean(np.array(erased) > 0) < 0.7
        assert 0.2 < max(erased) < 0.45
        np.testing.assert_array_equal(found[7:], resumed)

    @pytest.mark.parametrize("augmentation", ["flip", "none"])
    def test_whole_images(self, photos, augmentation):
        """Those that are trained on are as they would be tested, or that from right to left."""
        source = replace(data.stream("photos", photos), augmentation=augmentation)
        as_tested = replace(source, test=source.train).test_sample(60, SHAPE)[0]
        known = {image.tobytes() for image in as_tested}
        turned = {np.ascontiguousarray(image[:, ::-1]).tobytes() for image in as_tested}
        settings = {"batch_size": 60, "image_shape": SHAPE, "seed": 2, "first_epoch": 0}
        one, two = (x.numpy() for x, _ in source.train_batches(epochs=2, **settings))
        assert {image.tobytes() for image in one} <= known | turned
        flips = np.mean([image.tobytes() in turned - known for image in one])
        assert 0.25 < flips < 0.75 if augmentation == "flip" else not flips
        assert np.array_equal(*(np.sort(x.reshape(60, -1), 0) for x in (one, two))) == (not flips)

    def test_an_unknown_augmentation(self, photos):
        source = replace(data.stream("photos", photos), augmentation="mirror")
        with pytest.raises(ValueError, match="augmentation='mirror' is unknown; use one of crop"):
            source.train_batches(batch_size=8, image_shape=SHAPE, seed=0, first_epoch=0, epochs=1)

    def test_embedded_images(self):
        source = data.stream("fashion_mnist_mini")
        assert (source.train_count, source.test_count) == (6000, 1000)

    def test_absent_data(self, tmp_path):
        with pytest.raises(DatasetNotFoundError, match=r"(?s)tfds\.load\('imagenette'.*--data-dir"):
            data.stream("imagenette", tmp_path)
        with pytest.raises(DatasetNotFoundError, match="no_such_data"):
            data.stream("no_such_data", tmp_path)

    def test_missing_files(self, photos, tmp_path):
        shutil.copytree(photos, tmp_path, dirs_exist_ok=True)
        next(tmp_path.glob("photos/1.0.0/*train*00001*")).unlink()
        with pytest.raises(DatasetCorruptError, match="lacks 1 of its files"):
            data.stream("photos", tmp_path)

    @pytest.mark.parametrize("change", ["records", "names", "nothing"])
    @pytest.mark.parametrize("is_older", [False, True])
    def test_a_run_goes_on_with_the_same_records_only(self, photos, tmp_path, change, is_older):
        copy, run = tmp_path / "copy", tmp_path / "run"
        shutil.copytree(photos, copy)
        run.mkdir()
        same_images(run, data.stream("photos", photos), is_chief=True)
        kept = json.loads((run / "data.json").read_text())
        if is_older:
            kept["fingerprint"] = kept["fingerprint"].split(":")[0]
            (run / "data.json").write_text(json.dumps(kept))
        if change == "records":
            file = str(next(copy.glob("photos/1.0.0/*train*00000*")))
            records = list(tf.data.TFRecordDataset(file).as_numpy_iterator())
            with tf.io.TFRecordWriter(file) as writer:
                for record in reversed(records):
                    writer.write(record)
        if change == "names":
            names = next(copy.glob("photos/1.0.0/label.labels.txt"))
            names.write_text(names.read_text().replace("cat", "lion"))
        now = data.stream("photos", copy)
        if change == "nothing" or (change == "records" and is_older):
            same_images(run, now, is_chief=True)
        else:
            with pytest.raises(ValueError, match="began with .*, and now there are other ones"):
                same_images(run, now, is_chief=True)

    @pytest.mark.parametrize("count", [0, 61])
    def test_numbers_out_of_range(self, photos, count):
        with pytest.raises(ValueError, match=rf"train_examples={count}: photos allows 1 to 60"):
            data.stream("photos", photos, train_examples=count)
