"""From a picture to the classes that a model sees in it, for the commands that do so."""

import argparse
import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from siman_runtime.checks import read_model
from siman_runtime.commands import add_isolation, isolation
from siman_runtime.errors import ModelError
from siman_runtime.interpreter import Interpreter
from siman_runtime.preparation import Preparation, fit_picture, preparation_of

if TYPE_CHECKING:
    from PIL import Image

__all__ = ["Classifier", "Guess", "add_arguments", "probabilities"]

# Steps of 8 bits from -1 to 1. Coarser ones are of scores that go beyond what a share can be.
_COARSEST_SHARES = 1 / 127


class Guess(NamedTuple):
    """A class, and its score."""

    label: str
    text: str
    share: "float | None"  # of all classes; one score alone may be a probability or not


class Classifier:
    """A model that classifies pictures, and what is said of how they are prepared.

    # Arguments
        arguments: Of a parser with `add_arguments`.

    # Raises
        ValueError, OSError: for a model that cannot be run, does not classify pictures or does not
            say how they are prepared.
    """

    def __init__(self, arguments: argparse.Namespace) -> None:
        content = read_model(arguments.model)
        self._interpreter = Interpreter(
            content,
            num_threads=arguments.threads,
            **isolation(arguments),
        )
        self.preparation = _chosen(arguments, content)
        _check_counts(self._interpreter)
        _set_size(self._interpreter, self.preparation)
        _check_model(self._interpreter, self.preparation)

    def prepared(self, picture: "Image.Image") -> np.ndarray:
        """What the model takes, of a picture of `open_picture`."""
        given = self._interpreter
        pixels = fit_picture(picture, given.input_shapes[0][1:], self.preparation)
        values, dtype = self.preparation.apply(pixels), np.dtype(given.input_types[0])
        if dtype == np.float32:
            return values
        scale, zero_point = given.input_scales[0], given.input_zero_points[0]
        limits = np.iinfo(dtype)
        return np.clip(np.round(values / scale) + zero_point, limits.min, limits.max).astype(dtype)

    def scores(self, values: np.ndarray) -> np.ndarray:
        """The shares of the classes in one prepared picture; of one class, its real score."""
        scores = np.asarray(self._interpreter.predict(values[None])).reshape(-1)
        scale = self._interpreter.output_scales[0]
        step = 0.0
        if isinstance(scale, float):
            zero_point = self._interpreter.output_zero_points[0]
            scores, step = scale * (scores.astype(np.float64) - zero_point), scale
        if not np.isfinite(scores).all():
            raise ModelError("The model gives NaN or infinite scores: convert it again.")
        return scores if len(scores) == 1 else probabilities(scores, step)

    def best(self, scores: np.ndarray, count: int) -> "list[Guess]":
        """The classes with the highest scores."""
        labels = self.preparation.labels
        guesses = []
        for index in np.argsort(-scores, kind="stable")[:count]:
            label, score = labels[index] if labels else f"class {index}", float(scores[index])
            # Softmax would make a single score 100 %.
            is_share = len(scores) > 1
            text = f"{100 * score:.2f} %" if is_share else f"{score:.6g}"
            guesses.append(Guess(label, text, score if is_share else None))
        return guesses


def probabilities(scores: np.ndarray, step: float = 0.0) -> np.ndarray:
    """The scores themselves if they are a distribution, else their softmax.

    # Arguments
        scores: One score for each class.
        step: How far apart two scores can be at least, for quantized ones.
    """
    scores = np.asarray(scores, np.float64).reshape(-1)
    is_fine = step <= _COARSEST_SHARES
    if is_fine and scores.min() >= 0 and abs(scores.sum() - 1) < max(1e-3, step * len(scores)):
        return scores
    powers = np.exp(scores - scores.max())
    return powers / powers.sum()


def add_arguments(parser: argparse.ArgumentParser, threads: "int | None") -> None:
    """The model, and how its pictures are prepared.

    # Arguments
        parser: What they are added to.
        threads: How many are used if nothing is said, as for `Interpreter`.
    """
    parser.add_argument("model", type=Path, help="TFLite file")
    parser.add_argument("--labels", type=Path, help="text file with one name for each class")
    told = f"threads ({threads or 'all cores up to 4'})"
    parser.add_argument("--threads", type=int, default=threads, help=told)
    add_isolation(parser, "in a process of its own, for files that you do not trust")
    group = parser.add_argument_group(
        "preparation", "Files of siman-larq say it themselves; for others, and to change it:"
    )
    group.add_argument("--mean", type=float, nargs="+", help="of the channels, pixels in 0 to 1")
    group.add_argument("--std", type=float, nargs="+", help="of the channels, pixels in 0 to 1")
    group.add_argument("--crop", type=float, help="part of the shorter side that is used (1)")
    group.add_argument(
        "--picture-size",
        type=int,
        nargs=2,
        metavar=("HEIGHT", "WIDTH"),
        help="of the picture, inside a black border where the model takes more (the model's)",
    )
    group.add_argument(
        "--grey", dest="is_grey", action="store_true", default=None, help="turn pictures grey first"
    )


def _labels(path: Path) -> "list[str]":
    try:
        lines = path.read_text("utf-8-sig").split("\n")
    except UnicodeDecodeError:
        raise ValueError(f"--labels {path}: this is no text in UTF-8.") from None
    while lines and not lines[-1].strip():
        lines.pop()
    if not lines:
        raise ValueError(
            f"--labels {path}: it names no class; give one name for each, a line each, or leave "
            "--labels out."
        )
    return [line.strip() for line in lines]


def _chosen(arguments: argparse.Namespace, content: bytes) -> Preparation:
    found = preparation_of(arguments.model, content)
    names = ("mean", "std", "crop", "picture_size", "is_grey")
    given = {name: getattr(arguments, name) for name in names}
    given = {name: value for name, value in given.items() if value is not None}
    if found is None and not {"mean", "std"} <= given.keys():
        raise ValueError(
            f"{arguments.model} does not say how its pictures were prepared in training, and there "
            "is no input.json beside it: give --mean and --std, such as --mean 0.5 --std 0.5 for "
            "inputs from -1 to 1, and --grey, --crop and --picture-size where they apply."
        )
    flags = {"is_grey": "--grey", "picture_size": "--picture-size"}
    told = ", ".join(flags.get(name, f"--{name}") for name in given)
    if "picture_size" in given:
        given["picture_size"] = tuple(given["picture_size"])
    if arguments.labels is not None:
        given["labels"] = _labels(arguments.labels)
    try:
        if found is None:
            return Preparation(**given, source=told)
        source = f"{found.source}, but for {told}" if told else found.source
        return dataclasses.replace(found, **given, source=source)
    except ValueError as error:
        raise ValueError(f"{error}.") from None


def _check_counts(interpreter: Interpreter) -> None:
    """That there is one input and one output, which all else is about."""
    counts = len(interpreter.input_shapes), len(interpreter.output_shapes)
    if counts != (1, 1):
        raise ModelError(
            f"The model has {counts[0]} inputs and {counts[1]} outputs; pictures are classified "
            "with one of each: use siman_runtime.Interpreter."
        )


def _check_model(interpreter: Interpreter, preparation: Preparation) -> None:
    """That the model classifies one picture, with as many classes as there are labels."""
    shape, output = interpreter.input_shapes[0][1:], interpreter.output_shapes[0]
    if len(shape) != 3:
        raise ModelError(f"The model's input {shape} is no picture (height, width, channels).")
    if not output or not 0 < int(np.prod(output[1:])) == output[-1]:
        raise ModelError(f"The model's output {output[1:]} is no list of scores, one for a class.")
    _check_type("takes", interpreter.input_types[0], interpreter.input_scales[0])
    _check_type("gives", interpreter.output_types[0], interpreter.output_scales[0])
    for name in ("mean", "std"):
        if len(getattr(preparation, name)) not in (1, shape[2]):
            raise ValueError(
                f"{name} has {len(getattr(preparation, name))} values; the model takes "
                f"{shape[2]} channels."
            )
    if preparation.labels and len(preparation.labels) != output[-1]:
        raise ValueError(f"{len(preparation.labels)} labels; the model has {output[-1]} classes.")


def _check_type(verb: str, given: type, scale: "float | list | None") -> None:
    """That values are real, or have one scale that makes them so: others would be misread."""
    dtype: np.dtype = np.dtype(given)
    has_scale = isinstance(scale, float) and 0 < scale < np.inf
    if dtype != np.float32 and not (dtype in (np.int8, np.uint8, np.int16) and has_scale):
        raise ModelError(
            f"The model {verb} {dtype} with the scale {scale}; known are float32, and int8, "
            "uint8 and int16 with one scale above 0: use siman_runtime.Interpreter."
        )


def _set_size(interpreter: Interpreter, preparation: Preparation) -> None:
    """Networks that take pictures of any size run at the size that is named."""
    signature = interpreter.input_signatures[0]
    if len(signature) != 4 or -1 not in signature[1:]:
        return
    if not preparation.picture_size:
        raise ValueError("The model takes pictures of any size: give --picture-size HEIGHT WIDTH.")
    interpreter.resize((1, *preparation.picture_size, signature[-1]))
