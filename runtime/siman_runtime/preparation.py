"""How a picture becomes the input of a network: as in the training that made the file."""

import dataclasses
import json
import struct
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from siman_runtime.errors import LibraryError, ModelError
from siman_runtime.flatbuffer import metadata_of

if TYPE_CHECKING:
    from PIL import Image

__all__ = [
    "METADATA_NAME",
    "Preparation",
    "fit_picture",
    "open_picture",
    "preparation_of",
]

METADATA_NAME = "siman_input"
"""The name in a TFLite file's metadata under which siman-larq puts the content of `input.json`."""

_MOST = 1e30  # what float32 computes with

# Modes of Pillow whose values are from 0 to 255 and which have one way to grey and to RGB.
_EIGHT_BITS = ("1", "L", "LA", "P", "PA", "RGB", "RGBA", "RGBX", "CMYK", "YCbCr", "HSV")
_SIXTEEN_BITS = ("I", "I;16", "I;16B", "I;16L", "I;16N")


@dataclasses.dataclass(frozen=True)
class Preparation:
    """How pixels from 0 to 255 become inputs: `(pixels / 255 - mean) / std`, by channel."""

    mean: "list[float]"
    std: "list[float]"
    labels: "list[str]" = dataclasses.field(default_factory=list)
    crop: float = 1.0  # side of the central square that is used, over the shorter side
    picture_size: "tuple[int, ...]" = ()  # (height, width) inside a black border, if not the whole
    is_grey: bool = False
    source: str = ""

    def __post_init__(self) -> None:
        for name in ("mean", "std"):
            values = getattr(self, name)
            if not values or not all(abs(value) <= _MOST for value in values):
                raise ValueError(f"{name}={values}: finite numbers, up to 1e30, are allowed")
        if not all(value >= 1 / _MOST for value in self.std):
            raise ValueError(f"std={self.std}: above 0, from 1e-30, is allowed")
        if not 0 < self.crop <= 1:
            raise ValueError(f"crop={self.crop}: above 0 and up to 1 is allowed")
        if len(self.picture_size) not in (0, 2) or not all(n > 0 for n in self.picture_size):
            raise ValueError(f"picture_size={self.picture_size}: height and width above 0")

    def apply(self, pixels: np.ndarray) -> np.ndarray:
        values = np.asarray(pixels, np.float32) / np.float32(255)
        return (values - np.asarray(self.mean, np.float32)) / np.asarray(self.std, np.float32)


def preparation_of(model: Path, content: bytes) -> "Preparation | None":
    """What a file says itself, or else `input.json` beside it, which siman-larq's training writes.

    # Arguments
        model: Path of the file.
        content: Its bytes.

    # Returns
        `None` if neither says anything.

    # Raises
        ModelError: for settings that are damaged.
    """
    beside = model.with_name("input.json")
    text = beside.read_bytes() if beside.is_file() else None
    try:
        inside = metadata_of(content, METADATA_NAME)
    except struct.error:
        raise ModelError(f"{model} is damaged: its metadata are out of bounds.") from None
    if inside is None:
        return None if text is None else _parsed(text, str(beside))
    found = _parsed(inside, str(model))
    if text is not None and not _is_equal(text, found):
        source = f"{model}; {beside} says something else and is not used"
        found = dataclasses.replace(found, source=source)
    return found


def _is_equal(text: bytes, found: Preparation) -> bool:
    try:
        return _parsed(text, found.source) == found
    except ModelError:
        return False


def _parsed(text: bytes, source: str) -> Preparation:
    try:
        settings: dict[str, Any] = json.loads(text)
        is_grey = settings.get("is_grey", False)
        if not isinstance(is_grey, bool):
            raise TypeError(f"is_grey={is_grey!r}")
        return Preparation(
            mean=_list_of(settings, "mean", float),
            std=_list_of(settings, "std", float),
            labels=_list_of(settings, "class_names", str),
            crop=_value(settings.get("crop", 1.0), "crop", float),
            picture_size=tuple(_list_of(settings, "picture_size", int)),
            is_grey=is_grey,
            source=source,
        )
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError) as error:
        raise ModelError(f"{source} is damaged ({error!r}): copy the run folder again.") from error


def _list_of(settings: "dict[str, Any]", name: str, kind: type) -> list:
    values = settings[name] if kind is float else settings.get(name, [])
    if not isinstance(values, list):
        raise TypeError(f"{name}={values!r}, which is no list")
    return [_value(value, name, kind) for value in values]


def _value(value: Any, name: str, kind: type) -> Any:
    """A value of JSON as it is: text is no number there, nor are true and 32.7 whole numbers."""
    is_number = kind is float and isinstance(value, int) and not isinstance(value, bool)
    if type(value) is not kind and not is_number:
        raise TypeError(f"{name}: {value!r} is no {kind.__name__}")
    return kind(value)


def open_picture(path: Path) -> "Image.Image":
    """A picture with 8 bits a channel, as decoders for training give it: without transparency, and
    of 16 bits the upper ones. It is upright, though, as people see it."""
    try:
        from PIL import Image, ImageOps
    except ImportError:
        raise LibraryError(
            'Pillow is needed to read pictures: pip install "siman-runtime[images]"'
        ) from None
    try:
        with Image.open(path) as opened:
            kind, frames = opened.format, getattr(opened, "n_frames", 1)
            image = ImageOps.exif_transpose(opened)
            image.load()
    except Exception as error:  # Pillow's readers raise many kinds
        raise ValueError(f"{path} is no picture that Pillow reads: {error}") from error
    # Cameras put a small copy or a depth map behind the picture of an MPO file.
    if frames > 1 and kind != "MPO":
        raise ValueError(
            f"{path} holds {frames} pictures (an animation, or pages): save the one you mean."
        )
    if image.mode in _SIXTEEN_BITS and kind == "PNG":  # whose values are from 0 to 65535
        image = Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
    if image.mode not in _EIGHT_BITS:
        raise ValueError(
            f"{path} has pixels of Pillow's mode {image.mode}, whose range is not known: save it "
            "as a PNG of 8 bits, grey or RGB."
        )
    image.info.pop("transparency", None)  # of which Pillow would warn
    return image


def fit_picture(
    picture: "Image.Image", shape: "tuple[int, ...]", preparation: Preparation
) -> np.ndarray:
    """The central part of a picture, resized: uint8 `(height, width, channels)`."""
    from PIL import Image

    channels = shape[2]
    height, width = preparation.picture_size or shape[:2]
    if channels not in (1, 3):
        raise ModelError(f"The model takes {channels} channels; 1 (grey) and 3 are known.")
    if not (0 < height <= shape[0] and 0 < width <= shape[1]):
        raise ModelError(f"A picture of {height} x {width} does not fit the model's {shape}.")
    image = picture.convert("L" if channels == 1 or preparation.is_grey else "RGB")
    scale = preparation.crop * min(image.width / width, image.height / height)
    side = (width * scale, height * scale)
    left, top = (image.width - side[0]) / 2, (image.height - side[1]) / 2
    box = (left, top, left + side[0], top + side[1])
    image = image.resize((width, height), Image.Resampling.BILINEAR, box=box)
    pixels = np.zeros(shape, np.uint8)
    above, before = (shape[0] - height) // 2, (shape[1] - width) // 2
    part = np.asarray(image).reshape(height, width, -1)
    pixels[above : above + height, before : before + width] = part
    return pixels
