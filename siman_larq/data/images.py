"""Images in memory."""

from dataclasses import dataclass

import numpy as np

__all__ = ["ImageData", "ImageShape"]

ImageShape = tuple[int, int, int]


@dataclass(frozen=True, eq=False)
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
    left_out: What is damaged, and therefore in neither part; a sentence for each.

    # Raises
    ValueError: If images and labels are not as many, or a label is none of the classes.
    """

    name: str
    train_images: np.ndarray
    train_labels: np.ndarray
    test_images: np.ndarray
    test_labels: np.ndarray
    num_classes: int
    class_names: tuple[str, ...]
    source: str
    left_out: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for part in ("train", "test"):
            images = getattr(self, f"{part}_images")
            labels = np.asarray(getattr(self, f"{part}_labels"))
            if len(images) != len(labels):
                raise ValueError(
                    f"{part}_images has {len(images)} images, {part}_labels {len(labels)} labels: "
                    "every image needs one."
                )
            wrong = np.flatnonzero((labels < 0) | (labels >= self.num_classes))
            if len(wrong):
                raise ValueError(
                    f"{part}_labels[{wrong[0]}]={labels[wrong[0]]}: {self.name} has num_classes="
                    f"{self.num_classes}, so labels are 0 to {self.num_classes - 1}."
                )
