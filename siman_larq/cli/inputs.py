"""What commands read and write, and what they say meanwhile."""

import os
from pathlib import Path
from typing import Any

import click

from siman_larq.cli.start import start

__all__ = [
    "PATH",
    "check_output",
    "first_images",
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
    if isinstance(images, dict):
        return {name: array[:count] for name, array in images.items()}
    return images[:count]


def images_of_run(folder: Any) -> Any:
    """What the run in a folder was trained and is tested on."""
    from siman_larq.training.folder import RECIPE
    from siman_larq.training.recipe import Recipe
    from siman_larq.training.run import load_images

    return load_images(Recipe.load(folder / RECIPE))
