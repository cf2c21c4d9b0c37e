"""What commands read, and what they say meanwhile."""

from pathlib import Path
from typing import Any

import click

from siman_larq.cli.start import start

__all__ = ["PATH", "load", "require", "say"]

PATH = click.Path(path_type=Path)


def say(doing: str) -> None:
    """Tells what takes its time; apart from the result, which goes to standard output."""
    click.echo(f"{doing} ...", err=True)


def require(path: Path) -> None:
    if not path.exists():
        raise click.ClickException(f"There is no {path}.")


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
