"""`siman-run model.tflite image.png`: classifies pictures."""

import argparse
import dataclasses
import time
from pathlib import Path

import numpy as np

from siman_runtime.checks import read_model
from siman_runtime.commands import run_command
from siman_runtime.errors import ModelError
from siman_runtime.interpreter import Interpreter
from siman_runtime.preparation import Preparation, load_picture, preparation_of

__all__ = ["main", "probabilities"]


def probabilities(scores: np.ndarray, step: float = 0.0) -> np.ndarray:
    """The scores themselves if they are a distribution, else their softmax.

    # Arguments
        scores: One score for each class.
        step: How far apart two scores can be at least, for quantized ones.
    """
    scores = np.asarray(scores, np.float64).reshape(-1)
    if scores.min() >= 0 and abs(scores.sum() - 1) < max(1e-3, step * len(scores)):
        return scores
    powers = np.exp(scores - scores.max())
    return powers / powers.sum()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="siman-run", description="Classifies pictures.")
    parser.add_argument("model", type=Path, help="TFLite file")
    parser.add_argument("images", type=Path, nargs="+", help="pictures that Pillow reads")
    parser.add_argument("--labels", type=Path, help="text file with one name for each class")
    parser.add_argument("--top", type=int, default=5, help="classes to print (5)")
    parser.add_argument("--threads", type=int, default=1, help="threads (1)")
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
    return parser


def _labels(path: Path) -> "list[str]":
    try:
        lines = path.read_text("utf-8-sig").split("\n")
    except UnicodeDecodeError:
        raise ValueError(f"--labels {path}: this is no text in UTF-8.") from None
    while lines and not lines[-1].strip():
        lines.pop()
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


def _check_model(interpreter: Interpreter, preparation: Preparation) -> None:
    """That the model classifies one picture, with as many classes as there are labels."""
    counts = len(interpreter.input_shapes), len(interpreter.output_shapes)
    if counts != (1, 1):
        raise ModelError(
            f"The model has {counts[0]} inputs and {counts[1]} outputs; siman-run classifies with "
            "one of each: use siman_runtime.Interpreter."
        )
    shape, output = interpreter.input_shapes[0][1:], interpreter.output_shapes[0]
    if len(shape) != 3:
        raise ModelError(f"The model's input {shape} is no picture (height, width, channels).")
    if int(np.prod(output[1:])) != output[-1]:
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
            f"The model {verb} {dtype} with the scale {scale}; siman-run knows float32, and int8, "
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


def _prepared(interpreter: Interpreter, path: Path, preparation: Preparation) -> np.ndarray:
    shape, dtype = interpreter.input_shapes[0][1:], np.dtype(interpreter.input_types[0])
    values = preparation.apply(load_picture(path, shape, preparation))
    if dtype == np.float32:
        return values
    scale, zero_point = interpreter.input_scales[0], interpreter.input_zero_points[0]
    limits = np.iinfo(dtype)
    return np.clip(np.round(values / scale) + zero_point, limits.min, limits.max).astype(dtype)


def _scores(interpreter: Interpreter, image: np.ndarray) -> np.ndarray:
    """Real scores, or probabilities, of one prepared picture."""
    scores = np.asarray(interpreter.predict(image[None])).reshape(-1)
    scale, zero_point = interpreter.output_scales[0], interpreter.output_zero_points[0]
    step = 0.0
    if isinstance(scale, float):
        scores, step = scale * (scores.astype(np.float64) - zero_point), scale
    if not np.isfinite(scores).all():
        raise ModelError("The model gives NaN or infinite scores: convert it again.")
    return scores if len(scores) == 1 else probabilities(scores, step)


def _classify(arguments: argparse.Namespace) -> None:
    if arguments.top < 1:
        raise ValueError(f"--top {arguments.top}: at least 1 is allowed.")
    content = read_model(arguments.model)
    interpreter = Interpreter(content, num_threads=arguments.threads)
    preparation = _chosen(arguments, content)
    _set_size(interpreter, preparation)
    _check_model(interpreter, preparation)
    print(f"input prepared as in {preparation.source}")
    for path in arguments.images:
        image = _prepared(interpreter, path, preparation)
        start = time.perf_counter()
        scores = _scores(interpreter, image)
        spent = time.perf_counter() - start
        print(f"\n{path} ({1000 * spent:.1f} ms)")
        for index in np.argsort(-scores, kind="stable")[: arguments.top]:
            label = preparation.labels[index] if preparation.labels else f"class {index}"
            # One score alone may be a probability or not: softmax would make it 100 %.
            share = f"{100 * scores[index]:6.2f} %" if len(scores) > 1 else f"{scores[index]:.6g}"
            print(f"  {share}  {label}")


def main(arguments: "list[str] | None" = None) -> None:
    """The command `siman-run`."""
    run_command(_parser(), _classify, arguments)


if __name__ == "__main__":
    main()
