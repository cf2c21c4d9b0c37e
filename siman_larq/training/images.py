"""A run goes on with the images that it began with, or not at all."""

import json
from pathlib import Path
from typing import Any

from siman_larq import data
from siman_larq.data.images import ImageShape
from siman_larq.files import write_atomically

__all__ = ["described", "same_images"]


def described(images: data.ImageSource, image_shape: ImageShape) -> dict[str, Any]:
    """How test images are prepared and what their classes are called, as in `input.json`."""
    return images.input_settings(image_shape) | {"class_names": list(images.class_names)}


def same_images(folder: Path, images: data.ImageSource, is_chief: bool) -> None:
    """Keeps in the run folder which images are used, and refuses others later.

    # Arguments
        folder: The run folder.
        images: What this process would train and test on.
        is_chief: Whether this process is the one that writes files.

    # Raises
        ValueError: when the run began with other images.
    """
    path = folder / "data.json"
    found = {
        "fingerprint": images.fingerprint,
        "train_images": images.train_count,
        "test_images": images.test_count,
        "class_names": list(images.class_names),
        "left_out": list(images.left_out),
        "source": images.source,
    }
    if not path.is_file():
        if is_chief:
            write_atomically(path, json.dumps(found, indent=2) + "\n")
        return
    try:
        kept = json.loads(path.read_text())
        if _are_same(kept, found):
            return
        difference = "other ones" if _counts(kept) == _counts(found) else _counts(found)
        then = _counts(kept)
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(
            f"{path}, which says what the run's images are, is damaged ({error!r}): delete it to "
            "go on with those that are found now."
        ) from None
    raise ValueError(
        f"The run in {folder} began with {then}, and now there are {difference} ({images.source}): "
        "put them back as they were, or start a new run."
    )


def _are_same(kept: dict[str, Any], found: dict[str, Any]) -> bool:
    """By the parts of the fingerprint that the version which kept it knew, and by names."""
    parts = [images["fingerprint"].split(":") for images in (kept, found)]
    known = all(ours == theirs for ours, theirs in zip(*parts, strict=False))
    return known and kept["class_names"] == found["class_names"]


def _counts(images: dict) -> str:
    return (
        f"{images['train_images']:,} pictures to train and {images['test_images']:,} to test on, "
        f"in {len(images['class_names'])} classes"
    )
