"""`siman-run model.tflite image.png`: classifies pictures."""

import argparse
import json
import time
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from siman_runtime.commands import run_command
from siman_runtime.errors import LibraryError, ModelError
from siman_runtime.interpreter import Interpreter

__all__ = ["Preparation", "main", "preparation_of"]


@dataclass(frozen=True)
class Preparation:
    """How pixels from 0 to 255 become inputs: `(pixels / 255 - mean) / std`, by channel."""

    mean: "list[float]" = field(default_factory=lambda: [0.5])
    std: "list[float]" = field(default_factory=lambda: [0.5])
    labels: "list[str]" = field(default_factory=list)
    crop: float = 1.0  # side of the central square that is used, over the shorter side
    picture_size: "tuple[int, ...]" = ()  # (height, width) inside a black border, if not the whole
    is_grey: bool = False
    source: str = "the default: values from -1 to 1"

    def apply(self, pixels: np.ndarray) -> np.ndarray:
        values = np.asarray(pixels, np.float32) / np.float32(255)
        return (values - np.asarray(self.mean, np.float32)) / np.asarray(self.std, np.float32)


def preparation_of(model: Path) -> Preparation:
    """What `input.json` beside the model says, which siman-larq's training writes."""
    path = model.with_name("input.json")
    if not path.is_file():
        return Preparation()
    try:
        settings = json.loads(path.read_text())
        return Preparation(
            mean=[float(v) for v in settings["mean"]],
            std=[float(v) for v in settings["std"]],
            labels=[str(v) for v in settings.get("class_names", [])],
            crop=float(settings.get("crop", 1.0)),
            picture_size=tuple(int(v) for v in settings.get("picture_size", ())),
            is_grey=bool(settings.get("is_grey", False)),
            source=str(path),
        )
    except (ValueError, KeyError, TypeError) as error:
        raise ModelError(f"{path} is damaged ({error!r}): copy the run folder again.") from error


def load_picture(path: Path, shape: "tuple[int, ...]", preparation: Preparation) -> np.ndarray:
    """The central part of a picture, resized: uint8 `(height, width, channels)`."""
    try:
        from PIL import Image, ImageOps
    except ImportError:
        raise LibraryError(
            'Pillow is needed to read pictures: pip install "siman-runtime[images]"'
        ) from None
    channels = shape[2]
    height, width = preparation.picture_size or shape[:2]
    if channels not in (1, 3):
        raise ModelError(f"The model takes {channels} channels; siman-run knows 1 (grey) and 3.")
    if not (0 < height <= shape[0] and 0 < width <= shape[1]):
        raise ModelError(f"A picture of {height} x {width} does not fit the model's {shape}.")
    try:
        with Image.open(path) as opened:
            image = ImageOps.exif_transpose(opened)
            image = image.convert("L" if channels == 1 or preparation.is_grey else "RGB")
    except (OSError, SyntaxError) as error:
        raise ValueError(f"{path} is no picture that Pillow reads: {error}") from error
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


def probabilities(scores: np.ndarray) -> np.ndarray:
    """The scores themselves if they are a distribution, else their softmax."""
    scores = np.asarray(scores, np.float64).reshape(-1)
    if scores.min() >= 0 and abs(scores.sum() - 1) < 1e-3:
        return scores
    powers = np.exp(scores - scores.max())
    return powers / powers.sum()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="siman-run", description="Classifies pictures.")
    parser.add_argument("model", type=Path, help="TFLite file, best in its run folder")
    parser.add_argument("images", type=Path, nargs="+", help="pictures that Pillow reads")
    parser.add_argument("--labels", type=Path, help="text file with one name for each class")
    parser.add_argument("--top", type=int, default=5, help="classes to print (5)")
    parser.add_argument("--threads", type=int, default=1, help="threads (1)")
    parser.add_argument("--mean", type=float, nargs="+", help="of the channels, pixels in 0 to 1")
    parser.add_argument("--std", type=float, nargs="+", help="of the channels, pixels in 0 to 1")
    parser.add_argument("--crop", type=float, help="part of the shorter side that is used (1)")
    return parser


def _chosen(arguments: argparse.Namespace) -> Preparation:
    found = preparation_of(arguments.model)
    labels = found.labels
    if arguments.labels is not None:
        labels = arguments.labels.read_text().splitlines()
    given = [name for name in ("mean", "std", "crop") if getattr(arguments, name) is not None]
    preparation = Preparation(
        mean=arguments.mean or found.mean,
        std=arguments.std or found.std,
        crop=found.crop if arguments.crop is None else arguments.crop,
        picture_size=found.picture_size,
        is_grey=found.is_grey,
        labels=labels,
        source=", ".join(f"--{name}" for name in given) or found.source,
    )
    if not 0 < preparation.crop <= 1:
        raise ValueError(f"--crop {preparation.crop}: above 0 and up to 1 is allowed.")
    if min(preparation.std) <= 0:
        raise ValueError(f"--std {preparation.std}: above 0 is allowed.")
    return preparation


def _prepared(interpreter: Interpreter, path: Path, preparation: Preparation) -> np.ndarray:
    shape, dtype = interpreter.input_shapes[0][1:], np.dtype(interpreter.input_types[0])
    if len(shape) != 3:
        raise ModelError(f"The model's input {shape} is no picture (height, width, channels).")
    for name in ("mean", "std"):
        if len(getattr(preparation, name)) not in (1, shape[2]):
            raise ValueError(
                f"{name} has {len(getattr(preparation, name))} values; the model takes "
                f"{shape[2]} channels."
            )
    values = preparation.apply(load_picture(path, shape, preparation))
    if dtype == np.float32:
        return values
    scale, zero_point = interpreter.input_scales[0], interpreter.input_zero_points[0]
    if dtype.kind not in "iu" or not isinstance(scale, float):
        raise ModelError(f"The model takes {dtype}; siman-run knows float32, int8 and uint8.")
    limits = np.iinfo(dtype)
    return np.clip(np.round(values / scale) + zero_point, limits.min, limits.max).astype(dtype)


def _classify(arguments: argparse.Namespace) -> None:
    interpreter = Interpreter(arguments.model, num_threads=arguments.threads)
    preparation = _chosen(arguments)
    print(f"input prepared as in {preparation.source}")
    for path in arguments.images:
        image = _prepared(interpreter, path, preparation)
        start = time.perf_counter()
        scores = probabilities(np.asarray(interpreter.predict(image[None])))
        spent = time.perf_counter() - start
        if preparation.labels and len(preparation.labels) != len(scores):
            raise ValueError(
                f"{len(preparation.labels)} labels; the model has {len(scores)} classes."
            )
        print(f"\n{path} ({1000 * spent:.1f} ms)")
        for index in np.argsort(-scores, kind="stable")[: arguments.top]:
            label = preparation.labels[index] if preparation.labels else f"class {index}"
            print(f"  {100 * scores[index]:6.2f} %  {label}")


def main(arguments: "list[str] | None" = None) -> None:
    """The command `siman-run`."""
    run_command(_parser(), _classify, arguments)


if __name__ == "__main__":
    main()
