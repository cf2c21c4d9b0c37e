"""Pictures of one's own: what is found in a folder, how it is split, and what its pixels become."""

import io
import os
import re
import shutil
from collections import Counter

import numpy as np
import pytest
from PIL import Image

from siman_larq import data
from siman_larq.data import DatasetCorruptError, DatasetNotFoundError
from siman_larq.data.folder import list_folder
from siman_larq.training import Recipe, imagenet_recipe_for, recipe_for
from siman_larq.training.images import same_images

SHAPE = (32, 32, 3)
COLOURS = {"ape": (200, 30, 40), "bee": (20, 180, 60), "cat é": (10, 40, 220)}


def save(path, colour=(200, 30, 40), size=(40, 30), mode="RGB", **settings):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, colour).convert(mode).save(path, **settings)


def fill(folder, counts=(10, 5, 5)):
    for (name, colour), count in zip(COLOURS.items(), counts, strict=True):
        for number in range(count):
            save(folder / name / f"{number:02d}.png", colour, (40 + number, 30))


@pytest.fixture
def folder(tmp_path):
    root = tmp_path / "my [1] {pictures}* 50% ü"
    fill(root)
    return root


def load(folder, **settings):
    return data.load(f"folder:{folder}", **settings)


def stream(folder, **settings):
    return data.stream(f"folder:{folder}", **settings)


OPENERS = pytest.mark.parametrize("opened", [load, stream], ids=["memory", "stream"])


class TestLayout:
    def test_a_split_by_seed(self, folder):
        first, again, other = (list_folder(str(folder), seed) for seed in (0, 0, 1))
        assert first == again
        assert first.class_names == ("ape", "bee", "cat é")
        assert Counter(picture.label for picture in first.test) == {0: 2, 1: 1, 2: 1}
        assert Counter(picture.label for picture in first.train) == {0: 8, 1: 4, 2: 4}
        paths = {picture.path for picture in first.train + first.test}
        assert len(paths) == 20
        assert {picture.path for picture in other.test} != {picture.path for picture in first.test}

    def test_labels_are_those_of_the_folders(self, folder):
        images = load(folder)
        colours = np.array(list(COLOURS.values()), np.uint8)
        for part in ("train", "test"):
            pixels, labels = getattr(images, f"{part}_images"), getattr(images, f"{part}_labels")
            assert pixels.shape[1:] == SHAPE
            np.testing.assert_array_equal(pixels[:, 5, 5], colours[labels])
        source = stream(folder)
        (epoch,) = source.train_batches(
            batch_size=16, image_shape=SHAPE, seed=1, first_epoch=0, epochs=1
        )
        expected = data.prepare(np.broadcast_to(colours[:, None, None], (3, *SHAPE)))
        np.testing.assert_allclose(epoch[0], expected[epoch[1].numpy()], atol=0.02)
        assert Counter(epoch[1].numpy().tolist()) == {0: 8, 1: 4, 2: 4}

    def test_every_epoch_has_an_order_of_its_own(self, folder):
        settings = {"batch_size": 16, "image_shape": SHAPE, "seed": 1, "epochs": 3}
        whole = [y.numpy() for _, y in stream(folder).train_batches(first_epoch=0, **settings)]
        resumed = [y.numpy() for _, y in stream(folder).train_batches(first_epoch=1, **settings)]
        assert not np.array_equal(whole[0], whole[1])
        np.testing.assert_array_equal(whole[1:], resumed)

    @OPENERS
    @pytest.mark.parametrize(("train", "test"), [("train", "test"), ("Training", "val")])
    def test_a_split_that_is_there(self, tmp_path, opened, train, test):
        fill(tmp_path / train, (4, 3, 2))
        fill(tmp_path / test, (1, 2, 0))
        source = opened(tmp_path)
        images = source if isinstance(source, data.StreamedSource) else data.MemorySource(source)
        assert (images.train_count, images.test_count) == (9, 3)
        assert images.class_names == tuple(COLOURS)
        assert "no pictures to test cat é on" in images.source

    @OPENERS
    def test_what_is_no_picture_is_not_used_and_said(self, folder, opened):
        (folder / "ape" / ".hidden.png").write_bytes(b"x")
        (folder / "ape" / "Thumbs.db").write_bytes(b"x")
        (folder / "bee" / "notes.txt").write_text("bees")
        (folder / "readme.md").write_text("mine")
        (folder / ".git").mkdir()
        (folder / "@eaDir").mkdir()
        save(folder / "ape" / "@home.png")
        source = opened(folder)
        assert len(source.class_names) == 3
        labels = source if opened is stream else data.MemorySource(source)
        assert labels.train_count + labels.test_count == 21
        assert f"1 files beside the folders in {folder} not used" in source.source
        assert "1 files that are no pictures not used: notes.txt" in source.source

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            (lambda root: shutil.rmtree(root), "There is no folder"),
            (lambda root: [shutil.rmtree(root / c) for c in ("bee", "cat é")], "has only 'ape'"),
            (lambda root: [shutil.rmtree(root / c) for c in COLOURS], "has no folder: a class"),
            (lambda root: (root / "dog").mkdir(), "class folder .*dog has no pictures"),
            (lambda root: save(root / "dog" / "1.png"), "dog has one picture: it needs two"),
            (lambda root: save(root / "ape" / "x" / "1.png"), r"ape holds folders \(x\)"),
            (lambda root: save(root / "Train" / "ape" / "1.png"), "split 'Train' and also"),
            (
                lambda root: [save(root / "train" / "x" / "1.png"), save(root / "val" / "1.png")],
                "val needs a folder for each class, as .*train has",
            ),
            (
                lambda root: [
                    *(shutil.rmtree(root / name) for name in COLOURS),
                    *(save(root / name / f"{n}.png") for name in ("train", "test") for n in "ab"),
                ],
                "has the folders test, train, which are names of splits, and pictures right in",
            ),
        ],
    )
    def test_other_layouts_are_refused(self, folder, change, message):
        change(folder)
        with pytest.raises((ValueError, DatasetNotFoundError), match=message) as caught:
            load(folder)
        assert "\n" not in str(caught.value)

    def test_copies_of_trained_pictures_are_said(self, tmp_path):
        fill(tmp_path / "train")
        shutil.copytree(tmp_path / "train" / "bee", tmp_path / "test" / "bee")
        assert "5 tested on are copies of trained ones, such as" in load(tmp_path).source

    def test_folders_below_classes_that_are_tested(self, tmp_path):
        fill(tmp_path / "train")
        save(tmp_path / "test" / "bee" / "more" / "1.png")
        with pytest.raises(ValueError, match=r"test/bee holds folders \(more\)"):
            load(tmp_path)

    def test_a_class_that_is_only_tested(self, tmp_path):
        fill(tmp_path / "train")
        save(tmp_path / "test" / "dog" / "1.png")
        with pytest.raises(ValueError, match=r"test has the classes \['dog'\], which .*train"):
            load(tmp_path)

    @OPENERS
    def test_arguments(self, folder, opened):
        with pytest.raises(ValueError, match="train_examples=17: the folder allows 1 to 16"):
            opened(folder, train_examples=17)
        with pytest.raises(ValueError, match=rf"Is it folder:{re.escape(str(folder))}\?"):
            opened(folder.parent)
        with pytest.raises(ValueError, match="data_dir='x' is for data sets of TFDS"):
            opened(folder, data_dir="x")
        with pytest.raises(DatasetNotFoundError, match="folder:DIR takes a folder"):
            opened("")
        with pytest.raises((ValueError, DatasetNotFoundError), match=r"folder:(DIR|/)"):
            (data.load if opened is load else data.stream)(str(folder))


def as_trained(path, opened):
    """The first test image as the network gets it, of a folder with one picture to test on."""
    source = opened(path)
    images = source if isinstance(source, data.StreamedSource) else data.MemorySource(source)
    sample, _ = images.test_sample(1, SHAPE)
    return sample[0] * [0.229, 0.224, 0.225] + [0.485, 0.456, 0.406], images.input_settings(SHAPE)


def as_on_a_pi(path, settings):
    """As siman-run prepares it by `input.json`; test_runtime.py holds it against siman-run."""
    with Image.open(path) as image:
        mode = "L" if settings["is_grey"] else "RGB"
        turned = {1: None, 6: Image.Transpose.ROTATE_270, 7: Image.Transpose.TRANSVERSE}
        turn = turned[image.getexif().get(0x0112, 1)]
        if image.mode.startswith("I"):
            pixels = (np.asarray(image) >> 8).astype(np.uint8)
        else:
            pixels = np.asarray(image.convert(mode))
        image = Image.fromarray(pixels)
    image = image if turn is None else image.transpose(turn)
    side = settings["crop"] * min(image.size)
    left, top = (image.width - side) / 2, (image.height - side) / 2
    box = (left, top, left + side, top + side)
    pixels = np.asarray(image.resize((32, 32), Image.Resampling.BILINEAR, box=box)) / 255
    return pixels if pixels.ndim == 3 else pixels[..., None].repeat(3, -1)


def scene(width=150, height=110):
    """Smooth, and with no symmetry."""
    y, x = np.mgrid[:height, :width] / [[[height]], [[width]]]
    channels = [x, y, (x + 2 * y) / 3 * np.cos(3 * x) ** 2]
    return Image.fromarray((np.stack(channels, -1) * 255).astype(np.uint8))


def exif(turn):
    tags = Image.Exif()
    tags[0x0112] = turn
    return tags


KINDS = {
    "jpeg": lambda path: scene().save(path, "JPEG", quality=95),
    "turned": lambda path: scene().save(path, "JPEG", quality=95, exif=exif(6)),
    "transversed": lambda path: scene().save(path, "JPEG", quality=95, exif=exif(7)),
    "grey": lambda path: scene().convert("L").save(path, "JPEG", quality=95),
    "cmyk": lambda path: scene().convert("CMYK").save(path, "JPEG", quality=95),
    "png": lambda path: scene().save(path, "PNG"),
    "large": lambda path: scene(900, 700).save(path, "PNG"),
    "tiny": lambda path: scene(24, 30).save(path, "PNG"),
    "palette": lambda path: scene().convert("P").save(path, "PNG"),
    "bits": lambda path: scene().convert("1").save(path, "PNG"),
    "16 bits": lambda path: Image.fromarray(
        np.linspace(0, 65535, 110 * 150).reshape(110, 150).astype(np.uint16)
    ).save(path, "PNG"),
    "gif": lambda path: scene().convert("P").save(path, "GIF"),
    "bmp": lambda path: scene().save(path, "BMP"),
}


def transparent(path):
    image = scene().convert("RGBA")
    image.putalpha(Image.linear_gradient("L").resize(image.size))
    image.save(path, "PNG")


@OPENERS
@pytest.mark.parametrize("kind", [*KINDS, "rgba"])
def test_pixels_are_those_of_siman_run(tmp_path, opened, kind):
    for name in ("train/a/1.png", "train/b/1.png"):
        save(tmp_path / name)
    path = tmp_path / "test" / "a" / "tested"
    path.parent.mkdir(parents=True)
    KINDS.get(kind, transparent)(path)
    ours, settings = as_trained(tmp_path, opened)
    expected = as_on_a_pi(path, settings)
    assert settings["crop"] == (1.0 if opened is load else 0.875)
    assert np.ptp(expected) > 0.5
    # Pillow decodes JPEG in one way and TensorFlow in another; windows of a crop are whole pixels.
    limit = {"bits": 0.2, "tiny": 0.12, "gif": 0.06, "palette": 0.06}.get(kind, 0.04)
    assert np.abs(ours - expected).max() < (2e-6 if opened is load else limit)


def test_grey_folders_stay_grey(tmp_path):
    for number in range(2):
        for name in "ab":
            save(tmp_path / name / f"{number}.png", mode="L")
    assert load(tmp_path).train_images.shape == (2, 32, 32, 1)
    assert data.MemorySource(load(tmp_path)).input_settings(SHAPE)["is_grey"]


class TestDamage:
    DAMAGES = pytest.mark.parametrize(
        ("name", "content", "reason"),
        [
            ("bad.jpg", b"", "is empty"),
            ("bad.jpg", b"no picture", "is no picture that can be read: JPEG, PNG, BMP and GIF"),
            ("bad.webp", "WEBP", "is a WEBP; JPEG, PNG, BMP and GIF are known"),
            ("bad.heic", b"\0\0\0\x18ftypheic", "is no picture that can be read"),
            ("bad.gif", "animation", "holds 2 pictures"),
            ("bad.jpg", "cut", "is cut short or damaged|holds a JPEG that is cut short"),
            ("bad.tif", "float", "is a TIFF"),
            ("bad.jpg", "zeros", "ends in zeros: it was not copied to its end"),
        ],
    )

    def damaged(self, folder, name, content):
        buffer = io.BytesIO()
        if content == "WEBP":
            scene().save(buffer, "WEBP")
        elif content == "float":
            Image.new("F", (9, 9)).save(buffer, "TIFF")
        elif content == "animation":
            frames = [scene().convert("P"), scene().convert("P").rotate(90)]
            frames[0].save(buffer, "GIF", save_all=True, append_images=frames[1:])
        elif content == "zeros":
            scene().save(buffer, "JPEG")
            whole = buffer.getvalue()
            buffer = io.BytesIO(whole[: len(whole) // 2].ljust(len(whole), b"\0"))
        elif content == "cut":
            scene().save(buffer, "JPEG")
            buffer = io.BytesIO(buffer.getvalue()[:1200])
        else:
            buffer.write(content)
        path = folder / "bee" / name
        path.write_bytes(buffer.getvalue())
        return path

    @OPENERS
    @DAMAGES
    def test_is_named_or_left_out(self, folder, opened, name, content, reason):
        path = self.damaged(folder, name, content)

        def read(**settings):
            source = opened(folder, **settings)
            if opened is stream:
                source.test_sample(100, SHAPE)
                with data.damage_explained(source):
                    list(
                        source.train_batches(
                            batch_size=4, image_shape=SHAPE, seed=0, first_epoch=0, epochs=2
                        )
                    )
            return source

        with pytest.raises(DatasetCorruptError) as caught:
            read()
        assert caught.match(f"bee/{name} ({reason})")
        assert str(path) in str(caught.value)
        assert "--skip-damaged N" in str(caught.value)
        source = read(skip_damaged=1)
        assert len(source.left_out) == 1
        assert "1 damaged left out" in source.source
        images = source if opened is stream else data.MemorySource(source)
        assert images.train_count + images.test_count == 20

    @OPENERS
    def test_no_more_than_allowed(self, folder, opened):
        self.damaged(folder, "bad.jpg", b"")
        self.damaged(folder, "worse.jpg", b"")
        with pytest.raises(DatasetCorruptError, match=r"More than --skip-damaged 1 are damaged"):
            opened(folder, skip_damaged=1)

    @OPENERS
    def test_a_class_that_is_lost(self, folder, opened):
        for path in (folder / "bee").iterdir():
            path.write_bytes(b"")
        with pytest.raises(DatasetCorruptError, match="Of bee no picture to train on is undamaged"):
            opened(folder, skip_damaged=9)

    def test_a_picture_that_is_gone(self, folder):
        source = stream(folder)
        os.remove(source.test.pictures[0].path)
        with pytest.raises(DatasetCorruptError, match=r"\.png cannot be read \(No such file"):
            source.test_sample(9, SHAPE)


class TestRuns:
    def test_recipes(self, folder, monkeypatch):
        monkeypatch.chdir(folder.parent)
        for recipe in (
            recipe_for(f"folder:{folder.name}"),
            imagenet_recipe_for(dataset=f"folder:{folder.name}"),
        ):
            assert recipe.dataset == f"folder:{folder}"  # wherever it is resumed
            assert (recipe.epochs, recipe.batch_size, recipe.train_examples) == (40, 32, None)
        assert recipe_for(f"folder:{folder}", smoke=True).epochs == 2
        assert recipe_for("folder:~/x").dataset == "folder:" + os.path.expanduser("~/x")
        assert recipe_for("cifar10", data_dir="data").data_dir == str(folder.parent / "data")
        assert recipe_for("cifar10", data_dir="gs://data").data_dir == "gs://data"
        with pytest.raises(ValueError, match="skip_damaged=-1"):
            Recipe(skip_damaged=-1)

    @OPENERS
    @pytest.mark.parametrize("change", ["add", "take", "repaint", "move", "nothing"])
    def test_a_run_goes_on_with_the_same_pictures_only(self, folder, tmp_path, opened, change):
        def images():
            source = opened(folder)
            return source if opened is stream else data.MemorySource(source)

        run = tmp_path / "run"
        run.mkdir()
        same_images(run, images(), is_chief=True)
        if change == "add":
            save(folder / "ape" / "new.png")
        elif change == "take":
            (folder / "ape" / "01.png").unlink()
        elif change == "repaint":
            save(folder / "ape" / "01.png", (0, 0, 0), (41, 30))
        elif change == "move":
            (folder / "ape" / "01.png").rename(folder / "bee" / "01b.png")
        else:
            same_images(run, images(), is_chief=True)
            return
        with pytest.raises(ValueError, match="began with 16 pictures to train and 4 to test"):
            same_images(run, images(), is_chief=True)

    def test_a_damaged_record_of_them(self, folder, tmp_path):
        (tmp_path / "data.json").write_text("{")
        with pytest.raises(ValueError, match=r"data\.json, .* is damaged .*delete it"):
            same_images(tmp_path, stream(folder), is_chief=True)
