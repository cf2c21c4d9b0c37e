"""Damaged records: named by file and number, or left out where that is asked for."""

import io
import json
import re
import shutil

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image
from test_data import prepare_cifar10

from siman_larq import data
from siman_larq.data import DatasetCorruptError

SHAPE = (32, 32, 3)
SHARD = "photos-train.tfrecord-00001-of-00003"


def picture(kind, mode="RGB", size=(40, 40)):
    buffer = io.BytesIO()
    Image.new("RGB", size, (10, 200, 30)).convert(mode).save(buffer, kind)
    return buffer.getvalue()


def records_of(shard):
    return list(tf.data.TFRecordDataset(str(shard)).as_numpy_iterator())


def write(shard, records):
    with tf.io.TFRecordWriter(str(shard)) as writer:
        for record in records:
            writer.write(record)


def change(shard, number, image=None, label=None, without=None, raw=None):
    records = records_of(shard)
    example = tf.train.Example.FromString(records[number])
    fields = example.features.feature
    if image is not None:
        old = fields["image"].bytes_list.value[0]
        fields["image"].bytes_list.value[0] = image(old) if callable(image) else image
    if label is not None:
        fields["label"].int64_list.value[0] = label
    if without is not None:
        del fields[without]
    records[number] = example.SerializeToString() if raw is None else raw
    write(shard, records)


def first_bytes(share):
    return lambda encoded: encoded[: int(len(encoded) * share)]


def read_all(source, **settings):
    settings = {"batch_size": 10, "seed": 1, "first_epoch": 0, "epochs": 1} | settings
    with data.damage_explained(source):
        batches = source.train_batches(image_shape=SHAPE, **settings)
        return [(x.numpy(), y.numpy()) for x, y in batches]


@pytest.fixture
def copy(photos, tmp_path):
    # Characters that globs and templates would take for their own.
    folder = tmp_path / "my [1] {data}* 50% é"
    shutil.copytree(photos, folder)
    return folder


@pytest.fixture
def shard(copy):
    return copy / "photos" / "1.0.0" / SHARD


DAMAGES = [
    ({"image": first_bytes(0.6)}, "holds a JPEG that is cut short or damaged"),
    ({"image": b""}, "holds an empty picture"),
    ({"image": picture("TIFF")}, "holds no picture that TensorFlow decodes: JPEG, PNG"),
    ({"image": picture("BMP", "P")}, "holds a BMP with a palette, which TensorFlow decodes wrong"),
    ({"image": picture("PNG")[:60]}, "holds a PNG that is cut short or damaged"),
    ({"label": 10}, "has the label 10; its data set has 10 classes, from 0 to 9"),
    ({"label": -1}, "has the label -1"),
    ({"without": "label"}, r"lacks the field 'label'; it has \['file_name', 'image'\]"),
    ({"without": "image"}, "lacks the field 'image'"),
    ({"raw": b"\xff\xff"}, "is no tf.train.Example"),
]


class TestStreams:
    @pytest.mark.parametrize(("damage", "reason"), DAMAGES)
    def test_one_sentence_names_file_and_number(self, copy, damage, reason):
        shard = next(copy.glob("photos/1.0.0/*validation*00001-of*"))
        change(shard, 3, **damage)
        source = data.stream("photos", copy)
        with pytest.raises(DatasetCorruptError) as caught:
            source.test_sample(100, SHAPE)
        assert caught.match(rf"^Record 3 \(counted from 0\) of .*{shard.name} {reason}")
        assert str(shard) in str(caught.value)
        assert "--skip-damaged N" in str(caught.value)
        assert "\n" not in str(caught.value)

    @pytest.mark.parametrize("damage", [{"image": first_bytes(0.3)}, {"label": 10}])
    def test_in_batches_of_training(self, copy, shard, damage):
        change(shard, 7, **damage)
        # A crop may lie in what is left of a picture, but not in every epoch.
        with pytest.raises(DatasetCorruptError, match=rf"Record 7 .*{SHARD} h"):
            read_all(data.stream("photos", copy), epochs=30)

    def test_through_keras(self, copy, shard):
        change(shard, 7, image=b"")
        source = data.stream("photos", copy)
        network = tf.keras.Sequential([tf.keras.layers.Flatten(), tf.keras.layers.Dense(10)])
        network.compile("sgd", "mse")
        batches = source.train_batches(
            batch_size=20, image_shape=SHAPE, seed=0, first_epoch=0, epochs=1
        )
        with (
            pytest.raises(DatasetCorruptError, match=rf"Record 7 .*{SHARD} holds an empty pic"),
            data.damage_explained(source),
        ):
            network.fit(batches, verbose=0)

    @pytest.mark.parametrize("kind", ["PNG", "GIF", "BMP"])
    def test_other_kinds_among_jpegs_are_decoded_right(self, copy, kind):
        shard = next(copy.glob("photos/1.0.0/*validation*00000-of*"))
        change(shard, 0, image=picture(kind))
        images, _ = data.stream("photos", copy).test_sample(1, SHAPE)
        expected = data.prepare(np.full((1, 32, 32, 3), (10, 200, 30), np.uint8))
        np.testing.assert_allclose(images, expected, atol=1e-5)

    @pytest.mark.parametrize("damage", ["cut", "boundary", "flipped", "empty"])
    def test_files_that_end_early(self, copy, shard, damage):
        records = records_of(shard)
        end = sum(len(record) + 16 for record in records[:5])
        content = shard.read_bytes()
        if damage == "flipped":
            content = content[: end + 99] + bytes([content[end + 99] ^ 1]) + content[end + 100 :]
        else:
            content = content[: {"cut": end + 99, "boundary": end, "empty": 0}[damage]]
        shard.write_bytes(content)
        number = 0 if damage == "empty" else 5
        match = rf"Record {number} \(counted from 0\) of .*{SHARD} is lost: the file ends there"
        with pytest.raises(DatasetCorruptError, match=match):
            read_all(data.stream("photos", copy))
        source = data.stream("photos", copy, skip_damaged=20)
        assert source.train_count == 60 - (len(records) - number)
        assert sum(1 for _ in source.train.in_order()) == source.train_count

    def test_files_with_more_records_than_described(self, copy, shard):
        records = records_of(shard)
        write(shard, [*records, records[0]])
        match = rf"{SHARD} holds {len(records) + 1} records, dataset_info.json beside it says"
        with pytest.raises(DatasetCorruptError, match=match):
            read_all(data.stream("photos", copy))

    def test_evaluation_does_not_go_on_with_fewer(self, copy):
        shard = next(copy.glob("photos/1.0.0/*validation*00002-of*"))
        write(shard, records_of(shard)[:-1])
        with pytest.raises(DatasetCorruptError, match=rf"{shard.name} is lost"):
            data.stream("photos", copy).test_sample(100, SHAPE)

    def test_too_few_classes(self, copy):
        description = copy / "photos/1.0.0/features.json"
        description.write_text(description.read_text().replace('"10"', '"3"'))
        with pytest.raises(DatasetCorruptError, match=r"has 10 names in label.labels.txt, but 3"):
            data.stream("photos", copy)
        (copy / "photos/1.0.0/label.labels.txt").write_text("a\nb\nc\n")
        with pytest.raises(DatasetCorruptError, match=r"has the label [3-9]; its data set has 3"):
            data.stream("photos", copy).test_sample(100, SHAPE)


class TestLeavingOut:
    @pytest.fixture
    def damaged(self, copy, shard):
        change(shard, 7, image=first_bytes(0.6))
        change(shard, 19, label=99)
        change(next(copy.glob("photos/1.0.0/*validation*00000-of*")), 0, without="label")
        return copy

    def test_counts_and_names(self, damaged, shard):
        source = data.stream("photos", damaged, skip_damaged=3)
        assert (source.train_count, source.test_count) == (58, 19)
        assert [text.split(" of ")[0] for text in source.left_out] == [
            "Record 7 (counted from 0)",
            "Record 19 (counted from 0)",
            "Record 0 (counted from 0)",
        ]
        assert f"; 3 damaged left out: Record 7 (counted from 0) of {shard} holds" in source.source
        kept = [
            tf.train.Example.FromString(record).features.feature["label"].int64_list.value[0]
            for path in sorted(shard.parent.glob("*train*"))
            for number, record in enumerate(records_of(path))
            if path != shard or number not in (7, 19)
        ]
        for _, labels in read_all(source, batch_size=58, epochs=2):
            np.testing.assert_array_equal(np.sort(labels), np.sort(kept))
        assert len(source.test_sample(100, SHAPE)[1]) == 19

    def test_no_more_than_allowed(self, damaged):
        with pytest.raises(DatasetCorruptError, match=r"than --skip-damaged 2.* 7 .* 19 .* 0 "):
            data.stream("photos", damaged, skip_damaged=2)

    def test_first_examples_are_counted_without_them(self, damaged):
        source = data.stream("photos", damaged, train_examples=30, skip_damaged=3)
        assert source.train_count == 30
        assert len(source.left_out) == 2  # the second damaged one of this split is behind them

    def test_resumed_and_shared_batches_are_the_same(self, damaged):
        source = data.stream("photos", damaged, skip_damaged=3)
        whole = read_all(source, batch_size=8, epochs=2)
        resumed = data.stream("photos", damaged, skip_damaged=3)
        for ours, theirs in zip(
            read_all(resumed, batch_size=8, epochs=2, first_epoch=1), whole[7:], strict=True
        ):
            np.testing.assert_array_equal(ours[0], theirs[0])
        halves = [
            read_all(source, batch_size=8, share=data.Share(index, 2), epochs=2)
            for index in range(2)
        ]
        for batch, *parts in zip(whole, *halves, strict=True):
            together = np.concatenate([labels for _, labels in parts])
            np.testing.assert_array_equal(np.sort(together), np.sort(batch[1]))


class TestInMemory:
    @pytest.mark.parametrize(
        ("damage", "reason"),
        [
            ({"image": first_bytes(0.5)}, "holds a PNG that is cut short or damaged"),
            ({"image": b""}, "holds an empty picture"),
            (
                {"image": picture("PNG")},
                r"holds a picture of shape \(40, 40, 3\); its data set",
            ),
            ({"label": 10}, "has the label 10; its data set has 10 classes"),
            ({"label": -2}, "has the label -2"),
            ({"without": "label"}, "lacks the field 'label'"),
        ],
    )
    def test_one_sentence_or_left_out(self, tmp_path, damage, reason):
        images = prepare_cifar10(tmp_path)
        (shard,) = tmp_path.rglob("cifar10-train.tfrecord*")
        change(shard, 3, **damage)
        with pytest.raises(DatasetCorruptError) as caught:
            data.load("cifar10", tmp_path)
        assert caught.match(rf"^Record 3 \(counted from 0\) of .*{shard.name} {reason}")
        left = data.load("cifar10", tmp_path, skip_damaged=1)
        np.testing.assert_array_equal(left.train_images, np.delete(images, 3, axis=0))
        np.testing.assert_array_equal(left.train_labels, [0, 1, 2, 4, 5, 6, 7])
        assert "1 damaged left out: Record 3" in left.source
        assert left.left_out[0].startswith("Record 3")

    @pytest.mark.parametrize("label", [3, -1])
    def test_arrays_of_ones_own(self, label):
        images, labels = np.zeros((4, 8, 8, 3), np.uint8), np.array([0, 1, label, 2])
        with pytest.raises(ValueError, match=rf"test_labels\[2\]={label}: made has num_classes=3"):
            data.ImageData("made", images, labels % 3, images, labels, 3, ("a", "b", "c"), "")
        with pytest.raises(ValueError, match="train_images has 4 images, train_labels 3 labels"):
            data.ImageData("made", images, labels[:3] % 3, images, labels % 3, 3, tuple("abc"), "")


@pytest.mark.parametrize("stream", [True, False])
def test_an_empty_split(tmp_path, stream):
    prepare_cifar10(tmp_path)
    (path,) = tmp_path.rglob("dataset_info.json")
    info = json.loads(path.read_text())
    for split in info["splits"]:
        if split["name"] == "test":
            split["shardLengths"] = ["0"]
    path.write_text(json.dumps(info))
    with pytest.raises(ValueError, match="split 'test' of data set 'cifar10' is empty"):
        (data.stream if stream else data.load)("cifar10", tmp_path)


def test_features_that_are_no_classification(copy):
    path = copy / "photos/1.0.0/features.json"
    path.write_text(path.read_text().replace('"label": {', '"caption": {'))
    with pytest.raises(ValueError, match=r"'caption' \(ClassLabel\).*classification needs 'image'"):
        data.stream("photos", copy)


def test_images_that_are_no_bytes(copy):
    path = copy / "photos/1.0.0/features.json"
    text = path.read_text().replace('"uint8"', '"float32"').replace('"jpeg"', '"png"')
    path.write_text(text.replace('"3"', '"1"'))
    with pytest.raises(ValueError, match="'photos' has images of float32; uint8 and uint16"):
        data.stream("photos", copy)


@pytest.mark.parametrize("name", ["dataset_info.json", "features.json"])
@pytest.mark.parametrize("content", ["", "{", "[]"])
def test_damaged_descriptions(copy, name, content):
    (copy / "photos/1.0.0" / name).write_text(content)
    with pytest.raises(DatasetCorruptError, match="photos is trunc.* The cure: copy the folder"):
        data.stream("photos", copy)


def test_a_folder_without_its_description(copy):
    (copy / "photos/1.0.0/features.json").unlink()
    with pytest.raises(data.DatasetNotFoundError, match="no folder that TFDS wrote, with data"):
        data.stream("photos", copy)
    with pytest.raises(data.DatasetNotFoundError, match=rf"--data-dir {re.escape(str(copy))}$"):
        data.stream("photos", copy / "photos")
