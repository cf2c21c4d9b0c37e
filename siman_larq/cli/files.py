"""The commands that make and check a 1-bit TFLite file."""

import json
import os
from pathlib import Path
from typing import Any

import click

from siman_larq.cli.start import SETTINGS, one_sentence, start, version

__all__ = ["convert", "verify"]

_PATH = click.Path(path_type=Path)


@click.command(context_settings=SETTINGS)
@click.argument("model", type=_PATH)
@click.option("-o", "--output", type=_PATH, help="The file to write.  [default: beside MODEL]")
@click.option("--overwrite", is_flag=True, help="Whether it may replace a file.")
@click.option(
    "--small-maps",
    type=click.Choice(["rewrite", "warn"]),
    default="rewrite",
    help="What to do where zero padding meets a map smaller than the kernel, which LCE gets wrong.",
)
@click.option(
    "--allow-float", multiple=True, metavar="LAYER", help="A binary layer that may stay float."
)
@click.option(
    "--input-settings",
    type=_PATH,
    help="A JSON file of what siman-run does to pictures.  [default: input.json beside MODEL]",
)
@version
def convert(
    model: Path,
    output: Path | None,
    overwrite: bool,
    input_settings: Path | None,
    small_maps: str,
    allow_float: tuple[str, ...],
) -> None:
    """Converts MODEL, a .keras or .h5 file or a SavedModel's folder, to 1-bit TFLite.

    Every binary layer must become a 1-bit op, but for those named with --allow-float.
    """
    _require(model)
    output = output or _beside(model)
    _check_output(output, model, overwrite)
    settings = _settings(model, input_settings)
    network = _load(model)
    _say("converting, which takes a minute for large networks")
    with one_sentence(ImportError, OSError, TypeError, ValueError):
        import siman_larq
        from siman_larq.conversion import add_input_settings
        from siman_larq.training.files import write_atomically

        tflite = siman_larq.convert(network, allow_float=allow_float, small_maps=small_maps)
        if settings:
            tflite = add_input_settings(tflite, settings)
        write_atomically(output, tflite)
    click.echo(f"{output}  {len(tflite):,} bytes")


@click.command(context_settings=SETTINGS)
@click.argument("model", type=_PATH)
@click.argument("tflite", type=_PATH)
@click.option("--images", type=_PATH, help="A .npy or .npz file of inputs, as MODEL takes them.")
@click.option("--run-dir", type=_PATH, help="A run folder, whose data set's test images to take.")
@click.option("--examples", type=click.IntRange(min=1), default=1000, help="Only the first N.")
@click.option("--runtime", type=click.Choice(["lce", "siman"]), default="lce", help="What runs it.")
@version
def verify(
    model: Path,
    tflite: Path,
    images: Path | None,
    run_dir: Path | None,
    examples: int,
    runtime: str,
) -> None:
    """Runs MODEL and TFLITE, the file made from it, on the same images, and compares them."""
    if bool(images) == bool(run_dir):
        raise click.ClickException("Give either --images or --run-dir, to say what to run on.")
    for path in (model, tflite, images, run_dir):
        if path is not None:
            _require(path)
    network = _load(model)
    with one_sentence(ImportError, OSError, TypeError, ValueError):
        import siman_larq

        sample = _read(images) if images else _test_images(run_dir, network, examples)
        _say("running the model and the file")
        report = siman_larq.verify(network, tflite, _first(sample, examples), runtime=runtime)
    click.echo(report)


def _say(doing: str) -> None:
    """Tells what takes its time; apart from the result, which goes to standard output."""
    click.echo(f"{doing} ...", err=True)


def _require(path: Path) -> None:
    if not path.exists():
        raise click.ClickException(f"There is no {path}.")


def _beside(model: Path) -> Path:
    """The file of a model's name, beside it."""
    if model.is_file():
        return model.with_suffix(".tflite")
    folder = model.resolve()  # "." has no name
    return folder.with_name(folder.name + ".tflite")


def _settings(model: Path, given: Path | None) -> dict[str, Any] | None:
    """How pictures are prepared for a model, if a file says so."""
    path = given or model.parent / "input.json"
    if given is None and not path.is_file():
        return None
    _require(path)
    try:
        settings = json.loads(path.read_text())
        if not isinstance(settings, dict):
            raise ValueError("it holds no names")
    except (OSError, ValueError) as error:
        raise click.ClickException(f"{path} cannot be read as JSON settings ({error}).") from error
    _say(f"taking {path} into the file")
    return settings


def _check_output(output: Path, model: Path, overwrite: bool) -> None:
    """Refuses what cannot be written, or must not be, before the model is read."""
    folder = output.parent
    if not folder.is_dir():
        raise click.ClickException(f"There is no folder {folder} to write {output.name} to.")
    if not os.access(folder, os.W_OK):
        raise click.ClickException(f"No file can be written to {folder}; give another -o.")
    if output.is_dir():
        raise click.ClickException(f"{output} is a folder; give -o the name of a file.")
    if output.exists() and output.samefile(model):
        raise click.ClickException(f"{output} is the model itself; give another -o.")
    if output.exists() and not overwrite:
        raise click.ClickException(f"{output} exists; give another -o, or --overwrite.")


def _load(path: Path) -> Any:
    """The Keras model in a file or folder."""
    if path.is_dir() and not (path / "saved_model.pb").is_file():
        raise click.ClickException(
            f"{path} is a folder without a SavedModel (it has no saved_model.pb); of a run folder "
            "give the file model.keras in it."
        )
    _say(f"reading {path}")
    start()
    import tensorflow as tf

    try:
        model = tf.keras.models.load_model(path, compile=False)
    except Exception as error:  # Keras raises whatever its readers do
        reason = (str(error).strip() or repr(error)).splitlines()[0]
        raise click.ClickException(
            f"{path} cannot be loaded as a Keras model ({reason}). If it has classes of your own, "
            "load it in Python with custom_objects, and call siman_larq.convert or verify there."
        ) from error
    if not isinstance(model, tf.keras.Model):
        raise click.ClickException(
            f"{path} holds no Keras model, only a TensorFlow graph; save the model with "
            "model.save('model.keras')."
        )
    return model


def _read(path: Path) -> Any:
    """Images from a file: an array, or several by the names of the model's inputs."""
    import numpy as np

    try:
        content = np.load(path, allow_pickle=False)
    except Exception as error:  # numpy raises many kinds
        raise ValueError(f"{path} is no .npy or .npz file of numbers ({error}).") from error
    if isinstance(content, np.ndarray):
        return content
    arrays = dict(content)
    if not arrays:
        raise ValueError(f"{path} holds no arrays.")
    return arrays if len(arrays) > 1 else next(iter(arrays.values()))


def _first(images: Any, count: int) -> Any:
    if isinstance(images, dict):
        return {name: array[:count] for name, array in images.items()}
    return images[:count]


def _test_images(folder: Any, network: Any, count: int) -> Any:
    from siman_larq.training.recipe import Recipe
    from siman_larq.training.run import load_images

    images = load_images(Recipe.load(folder / "recipe.json"))
    return images.test_sample(count, network.input_shape[1:])[0]
