"""The trained networks that come with the package: what is known of each, without TensorFlow."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

__all__ = ["FOLDER", "Published", "find", "published"]

FOLDER = Path(__file__).parent
"""Where a network of the name NAME has the files NAME.npz and NAME.json."""


@dataclass(frozen=True)
class Published:
    """A trained network; the content of its JSON file.

    # Attributes
        network: The function of `siman_larq.models` that makes it.
        weights: What that function is given as `weights`.
        sha256: SHA-256 of the file of weights, in hexadecimal digits.
        input_shape: Height, width and channels of its images.
        num_classes: Number of its classes.
        input_settings: How pictures are prepared, and what the classes are called, as in a run
            folder's `input.json`.
        recipe: The recipe of its training.
        train_images: How many images it was trained on.
        test_images: How many it was tested on, which are all there are.
        keras_accuracy: Share of test images that the network gives their class.
        tflite_accuracy: The same of its 1-bit file.
        agreement: Share of test images in which both give the same class.
        tflite_bytes: Size of the 1-bit file.
        data: Where the images are from.
        data_licence: Their licence.
        licence: The licence of the weights.
    """

    network: str
    weights: str
    sha256: str
    input_shape: tuple[int, int, int]
    num_classes: int
    input_settings: dict[str, Any]
    recipe: dict[str, Any]
    train_images: int
    test_images: int
    keras_accuracy: float
    tflite_accuracy: float
    agreement: float
    tflite_bytes: int
    data: str
    data_licence: str
    licence: str

    @property
    def name(self) -> str:
        return f"{self.network}-{self.weights}"

    @property
    def path(self) -> Path:
        """The file of weights, which `siman_larq.load_binary` reads."""
        return FOLDER / f"{self.name}.npz"


def published() -> dict[str, Published]:
    """The trained networks that come with the package, by name."""
    found = {}
    for path in sorted(FOLDER.glob("*.json")):
        content = json.loads(path.read_text("utf-8"))
        content["input_shape"] = tuple(content["input_shape"])
        found[path.stem] = Published(**content)
    return found


def find(name: str) -> Published:
    """The trained network of a name, such as `"resnet20-fashion_mnist"`.

    # Raises
        ValueError: listing what there is.
    """
    known = published()
    if name not in known:
        raise ValueError(
            f"No trained network is called {name!r}; there are {', '.join(known) or 'none'}."
        )
    return known[name]
