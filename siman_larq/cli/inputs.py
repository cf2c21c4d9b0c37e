"""What commands read and write, and what they say meanwhile."""

import os
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from siman_larq.cli.start import start

__all__ = [
    "PATH",
    "check_output",
    "first_images",
    "image_shape",
    "images_of_run",
    "load",
    "read_images",
    "require",
    "say",
]

PATH = click.Path(path_type=Path)


def say(doing: str) -> None:
    """Tells what takes its time; apart from the result, which goes to standard output."""
    click.echo(f"{doing} ...", err=True)


def require(path: Path) -> None:
    if not path.exists():
        raise click.ClickException(f"There is no {path}.")


def check_output(output: Path, overwrite: bool, model: Path | None = None) -> None:
    """Refuses what cannot be written, or must not be, before anything is made for it.

    # Arguments
        output: The file to write.
        overwrite: Whether it may replace a file.
        model: A file that it is made of, and must not replace.
    """
    folder = output.parent
    if not folder.is_dir():
        raise click.ClickException(f"There is no folder {folder} to write {output.name} to.")
    if not os.access(folder, os.W_OK):
        raise click.ClickException(f"No file can be written to {folder}; give another -o.")
    if output.is_dir():
        raise click.ClickException(f"{output} is a folder; give -o the name of a file.")
    if output.exists() and model is not None and output.samefile(model):
        raise click.ClickException(f"{output} is the model itself; give another -o.")
    if output.exists() and not overwrite:
        raise click.ClickException(f"{output} exists; give another -o, or --overwrite.")


def load(path: Path) -> Any:
    """The Keras model in a file or folder."""
    if path.is_dir() and not (path / "saved_model.pb").is_file():
        raise click.ClickException(
            f"{path} is a folder without a SavedModel (it has no saved_model.pb); of a run folder "
            "give the file model.keras in it."
        )
    say(f"reading {path}")
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


def read_images(path: Path) -> Any:
    """Images from a file: an array, or several by the names of the model's inputs."""
    import numpy as np

    try:
        content = np.load(path, allow_pickle=False)
        arrays = {"": content} if isinstance(content, np.ndarray) else dict(content)
    except Exception as error:  # numpy raises many kinds
        raise ValueError(f"{path} is no .npy or .npz file of numbers ({error}).") from error
    if not arrays:
        raise ValueError(f"{path} holds no arrays.")
    if not all(array.ndim for array in arrays.values()):
        raise ValueError(f"{path} holds a single number in place of images.")
    return arrays if len(arrays) > 1 else next(iter(arrays.values()))


def first_images(images: Any, count: int) -> Any:
    """The first of images, which may be several arrays by name."""
    if not isinstance(images, dict):
        return images[:count]
    if len({len(array) for array in images.values()}) > 1:
        return images  # Cut, they could seem to be equally many.
    return {name: array[:count] for name, array in images.items()}


def image_shape(network: Any) -> tuple[int, ...]:
    """(height, width, channels) of what a network takes, if that can be a run's images.

    # Raises
        ValueError: for other inputs than one of images of a fixed size.
    """
    from siman_larq.conversion.signature import inputs_of

    inputs = inputs_of(network)
    if len(inputs.specs) != 1 or inputs.specs[0].shape.rank != 4 or not inputs.have_fixed_sizes:
        shapes = (f"{n} {s.shape}" for n, s in zip(inputs.names, inputs.specs, strict=True))
        raise ValueError(
            f"--run-dir is for models with one input of images of a fixed size, and this one has "
            f"{', '.join(shapes)}; give a file of images in its place."
        )
    return tuple(inputs.specs[0].shape[1:])


def images_of_run(folder: Any) -> tuple[Any, str]:
    """What the run in a folder was trained and is tested on, and what to call the latter.

    # Raises
        ValueError: when they are not those that the run began with, so that some that are tested on
            may have been trained on.
    """
    from siman_larq.training.folder import RECIPE
    from siman_larq.training.images import same_images
    from siman_larq.training.recipe import Recipe
    from siman_larq.training.run import load_images
    from siman_larq.training.text import tested_on

    recipe = Recipe.load(folder / RECIPE)
    images = load_images(recipe)
    same_images(folder, images, is_chief=False)
    return images, tested_on(asdict(recipe))
