"""Pictures of one's own: a folder with a folder for each class, and a split where there is none."""

import hashlib
import os
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from siman_larq.choices import FOLDER
from siman_larq.data.damage import Damage, left_out, said_of_left_out
from siman_larq.data.errors import DatasetCorruptError, DatasetNotFoundError
from siman_larq.data.images import ImageData
from siman_larq.data.pictures import CURE, Picture, examined, pixels_of
from siman_larq.data.records import chosen_count

__all__ = ["PictureFolder", "list_folder", "load_folder", "open_folder"]

_TEST_SHARE = 0.2
_TRAIN = ("train", "training")
_TEST = ("test", "testing", "validation", "valid", "val", "eval")
# What systems leave behind.
_IGNORED = (".", "@eaDir", "@Recycle", "@tmp", "__MACOSX", "Thumbs.db", "desktop.ini")
_SHOWN = 5


@dataclass(frozen=True)
class PictureFolder:
    """The pictures of a folder, in an order that depends on names and seed alone.

    # Arguments
        class_names: The class folders' names, sorted; a label is a place among them.
        train: What is trained on, damaged pictures included.
        test: What is tested on, damaged pictures included.
        source: Where they are and what is not used, for people to read.
        fingerprint: It is another one when a picture was changed, moved, added or taken away.
    """

    class_names: tuple[str, ...]
    train: tuple[Picture, ...]
    test: tuple[Picture, ...]
    source: str
    fingerprint: str

    def undamaged(
        self,
        asked: dict[str, int | None],
        damages: Callable[[tuple[Picture, ...]], Iterable[Damage]],
        skip_damaged: int,
    ) -> tuple[list[tuple[Picture, ...]], tuple[Damage, ...]]:
        """The pictures that are used of each split, and what is left out.

        # Arguments
            asked: How many pictures of `train` and `test`; all for `None`.
            damages: Finds what is damaged among pictures.
            skip_damaged: How many may be left out.
        """
        parts: list[tuple[Picture, ...]] = []
        found: tuple[Damage, ...] = ()
        for split, number in asked.items():
            pictures = getattr(self, split)
            count = chosen_count("the folder", split, f"{split}_examples", number, len(pictures))
            candidates = pictures[: count + skip_damaged]
            found = left_out(damages(candidates), skip_damaged, CURE, found)
            bad = {damage.file for damage in found}
            good = tuple(picture for picture in candidates if picture.path not in bad)[:count]
            lost = {picture.label for picture in pictures} - {picture.label for picture in good}
            if not good or (lost and number is None):
                names = ", ".join(self.class_names[label] for label in sorted(lost))
                raise DatasetCorruptError(f"Of {names} no picture to {split} on is undamaged.")
            parts.append(good)
        return parts, found


def list_folder(directory: str, seed: int) -> PictureFolder:
    """Finds the pictures of a folder and splits them, unless it has folders for that.

    Either `DIR/<class>/<picture>`, of which one picture in five of every class, chosen by the seed,
    is tested on; or `DIR/train/<class>/<picture>` and `DIR/test/<class>/<picture>`.

    # Arguments
        directory: The folder.
        seed: Seed of order and split.

    # Raises
        DatasetNotFoundError: If there is no such folder.
        ValueError: If it is not laid out like this, or a class has too few pictures.
    """
    root = Path(directory).expanduser()
    if not directory or not root.is_dir():
        raise DatasetNotFoundError(
            f"There is no folder {str(root.absolute()) if directory else ''!r}: --dataset "
            "folder:DIR takes a folder with a folder of pictures for each class."
        )
    train_root, test_root, notes = _layout(root)
    class_names = tuple(_folders(train_root))
    if len(class_names) < 2:
        found = f"only {class_names[0]!r}" if class_names else "no folder"
        inner = class_names and _folders(train_root / class_names[0])
        hint = f" Is it {FOLDER}{train_root / class_names[0]}?" if inner else ""
        raise ValueError(
            f"{train_root} has {found}: a classification needs a folder of pictures for each of "
            f"two classes or more.{hint}"
        )
    if not {name.lower() for name in class_names} - {*_TRAIN, *_TEST}:
        raise ValueError(
            f"{train_root} has the folders {', '.join(class_names)}, which are names of splits, "
            "and pictures right in them: put these into a folder for each class, such as "
            f"{train_root / class_names[0] / 'cat'}."
        )
    _check_names(train_root)
    train, others = _pictures(train_root, class_names, seed)
    if test_root is None:
        train, test = _split(train, class_names, train_root)
        notes.append(f"one of five tested on, by seed {seed}")
    else:
        if unknown := sorted(set(_folders(test_root)) - set(class_names)):
            raise ValueError(
                f"{test_root} has the classes {unknown}, which {train_root} lacks: nothing could "
                "learn them."
            )
        _check_names(test_root)
        test, more = _pictures(test_root, class_names, seed)
        others += more
    trained = {picture.checksum for picture in train}
    if common := [picture.path for picture in test if picture.checksum in trained]:
        notes.append(f"{len(common)} tested on are copies of trained ones, such as {common[0]}")
    _check_counts(class_names, train, test, train_root, test_root, notes)
    if others:
        more_of_them = ", ..." if len(others) > _SHOWN else ""
        names = ", ".join(os.path.basename(path) for path in others[:_SHOWN])
        notes.append(f"{len(others)} files that are no pictures not used: {names}{more_of_them}")
    source = "; ".join([f"pictures in {root}", *notes])
    parts = [f"{os.path.relpath(p.path, root)}:{p.checksum}" for p in (*train, *test)]
    fingerprint = hashlib.sha256("\n".join(sorted(parts)).encode("utf-8", "surrogateescape"))
    return PictureFolder(class_names, tuple(train), tuple(test), source, fingerprint.hexdigest())


def _layout(root: Path) -> tuple[Path, Path | None, list[str]]:
    """The folders of the two splits, and what is to be said."""
    names = {name.lower(): name for name in _folders(root) if _folders(root / name)}
    train = next((names[name] for name in _TRAIN if name in names), None)
    if train is None:
        return root, None, _loose(root)
    tests = [names[name] for name in _TEST if name in names]
    flat = [name for name in _folders(root) if name.lower() in _TEST and name not in tests]
    if flat:
        raise ValueError(f"{root / flat[0]} needs a folder for each class, as {root / train} has.")
    if strange := sorted(set(_folders(root)) - {train, *tests}):
        raise ValueError(
            f"{root} has the split {train!r} and also {strange}: name the other split 'test', and "
            "put what belongs to neither elsewhere."
        )
    notes = [f"{root / name} not used" for name in tests[1:]]
    for folder in (root, root / train, *(root / name for name in tests[:1])):
        notes += _loose(folder)
    return root / train, root / tests[0] if tests else None, notes


def _loose(root: Path) -> list[str]:
    loose = [name for name in _visible(root) if not (root / name).is_dir()]
    return [f"{len(loose)} files beside the folders in {root} not used"] if loose else []


def _visible(folder: Path) -> list[str]:
    try:
        names = os.listdir(folder)
    except OSError as error:
        raise ValueError(f"{folder} cannot be listed ({error.strerror}).") from None
    return sorted(name for name in names if not name.startswith(_IGNORED))


def _folders(folder: Path) -> list[str]:
    if not folder.is_dir():
        return []
    return [name for name in _visible(folder) if (folder / name).is_dir()]


def _check_names(root: Path) -> None:
    for name in _folders(root):
        if inner := _folders(root / name):
            raise ValueError(
                f"The class folder {root / name} holds folders ({', '.join(inner[:_SHOWN])}): "
                "pictures lie right in the folder of their class, and the folders of a split are "
                "called 'train' and 'test'."
            )
        if name != name.encode(errors="replace").decode():
            raise ValueError(f"The class folder {name!r} in {root} has a name that is not UTF-8.")


def _pictures(root: Path, names: tuple[str, ...], seed: int) -> tuple[list[Picture], list[str]]:
    """All pictures in an order that mixes the classes, and the files that are none."""
    files = [
        (os.path.join(root, name, file), label)
        for label, name in enumerate(names)
        if (root / name).is_dir()
        for file in _visible(root / name)
    ]
    with ThreadPoolExecutor() as pool:
        found = list(pool.map(examined, *zip(*files, strict=True))) if files else []

    def draw(picture: Picture) -> bytes:
        name = os.path.relpath(picture.path, root)
        return hashlib.sha256(f"{seed}/{name}".encode("utf-8", "surrogateescape")).digest()

    pictures = sorted((one for one in found if one is not None), key=draw)
    others = [path for (path, _), one in zip(files, found, strict=True) if one is None]
    return pictures, others


def _split(
    pictures: list[Picture], names: tuple[str, ...], root: Path
) -> tuple[list[Picture], list[Picture]]:
    """The first pictures of every class for the test, the others for training."""
    tested: set[str] = set()
    for label, name in enumerate(names):
        own = [picture.path for picture in pictures if picture.label == label]
        if len(own) == 1:
            raise ValueError(
                f"The class folder {root / name} has one picture: it needs two, one to train on "
                "and one to test on."
            )
        tested.update(own[: max(1, round(len(own) * _TEST_SHARE))])
    test = [picture for picture in pictures if picture.path in tested]
    return [picture for picture in pictures if picture.path not in tested], test


def _check_counts(
    names: tuple[str, ...],
    train: list[Picture],
    test: list[Picture],
    train_root: Path,
    test_root: Path | None,
    notes: list[str],
) -> None:
    trained, tested = ({picture.label for picture in part} for part in (train, test))
    for label, name in enumerate(names):
        if label not in trained:
            raise ValueError(
                f"The class folder {train_root / name} has no pictures: put some in, or take it "
                "away."
            )
    if not tested:
        raise ValueError(f"{test_root} has no pictures: put some in, or take it away.")
    lacking = [name for label, name in enumerate(names) if label not in tested]
    if lacking:
        notes.append(f"no pictures to test {', '.join(lacking)} on")


def open_folder(name: str, data_dir: str | os.PathLike | None, seed: int) -> PictureFolder:
    """The pictures of `"folder:DIR"`.

    # Raises
        ValueError: If a `data_dir` is given too, or the folder is not laid out as it must be.
        DatasetNotFoundError: If there is no such folder.
    """
    if data_dir is not None:
        raise ValueError(f"data_dir={str(data_dir)!r} is for data sets of TFDS, not for {name}.")
    return list_folder(name.removeprefix(FOLDER), seed)


def load_folder(
    name: str, folder: PictureFolder, size: int, asked: dict[str, int | None], skip_damaged: int
) -> ImageData:
    """The pictures of a folder in memory, as `pixels_of` prepares them; see `load`."""
    everything = (*folder.train, *folder.test)
    is_grey = all(picture.is_grey for picture in everything if not picture.fault)
    arrays: dict[str, np.ndarray] = {}

    def decode(picture: Picture) -> str | None:
        if picture.fault:
            return picture.fault
        try:
            arrays[picture.path] = pixels_of(picture, size, is_grey)
        except Exception:  # Pillow's decoders raise many kinds
            return "is cut short or damaged"
        return None

    def damages(pictures: tuple[Picture, ...]) -> Iterator[Damage]:
        with ThreadPoolExecutor() as pool:
            for picture, fault in zip(pictures, pool.map(decode, pictures), strict=True):
                if fault:
                    yield Damage(picture.path, None, fault)

    (train, test), found = folder.undamaged(asked, damages, skip_damaged)
    return ImageData(
        name=name,
        train_images=np.stack([arrays[picture.path] for picture in train]),
        train_labels=np.array([picture.label for picture in train], np.int64),
        test_images=np.stack([arrays[picture.path] for picture in test]),
        test_labels=np.array([picture.label for picture in test], np.int64),
        num_classes=len(folder.class_names),
        class_names=folder.class_names,
        source=folder.source + said_of_left_out(found),
        left_out=tuple(map(str, found)),
    )
