"""The command line of train/cifar.py."""

import sys
from pathlib import Path
from typing import Any

import click

from siman_larq import data
from siman_larq.training.recipe import MODELS, recipe_for
from siman_larq.training.run import create, reopen

__all__ = ["main"]

_INTERRUPTED = 130


@click.command(context_settings={"show_default": True, "help_option_names": ["-h", "--help"]})
@click.option("--model", type=click.Choice(MODELS), help="The network.  [default: resnet20]")
@click.option(
    "--dataset", type=click.Choice(data.DATASET_NAMES), help="The images.  [default: cifar10]"
)
@click.option("--data-dir", type=click.Path(path_type=Path), help="Folder of TFDS data sets.")
@click.option("--epochs", type=click.IntRange(min=1), help="Passes over the training images.")
@click.option("--batch-size", type=click.IntRange(min=1), help="Images per step.")
@click.option("--train-examples", type=click.IntRange(min=1), help="Only the first N images.")
@click.option("--test-examples", type=click.IntRange(min=1), help="Only the first N test images.")
@click.option("--seed", type=click.IntRange(min=0), help="Seed of everything random.")
@click.option("--learning-rate", type=float, help="Peak learning rate.")
@click.option("--weight-decay", type=float, help="l2 on all but binary kernels and alpha.")
@click.option("--warmup-epochs", type=click.IntRange(min=0), help="Linear warm-up.")
@click.option("--clip-start", type=float, help="Percentile clamp in the first epoch.")
@click.option(
    "--levels", type=click.Choice(["-1,1", "0,1"]), help="Levels of the code.  [default: -1,1]"
)
@click.option("--threshold", help="'median', 'angle' or a fraction of ones.  [default: median]")
@click.option("--resume", "resumed", type=click.Path(path_type=Path), help="Go on with this run.")
@click.option("--smoke", is_flag=True, help="A check of a minute: 2 epochs of 256 images.")
@click.option(
    "--output-dir", type=click.Path(path_type=Path), default=Path("runs"), help="Run folders."
)
def main(resumed: Path | None, output_dir: Path, smoke: bool, **settings: Any) -> None:
    """Trains a SiMaN network, converts it to 1-bit TFLite and verifies the file.

    Options that are not given follow the data set: the official recipe for CIFAR (400 epochs,
    batches of 256, SGD 0.1, five epochs of warm-up, cosine, weight decay 5e-4 everywhere but on
    binary kernels and alpha), a shorter one for Fashion-MNIST.
    """
    given = {name: value for name, value in settings.items() if value is not None}
    if resumed is not None and (given or smoke):
        flags = ["--" + name.replace("_", "-") for name in given] + ["--smoke"] * smoke
        raise click.UsageError(
            f"--resume takes the run's own recipe; leave out {', '.join(flags)}."
        )
    try:
        if resumed is None:
            run = create(recipe_for(smoke=smoke, **_typed(given)), output_dir)
        else:
            run = reopen(resumed)
    except (ValueError, FileNotFoundError) as error:
        raise click.ClickException(str(error)) from error
    click.echo(f"run folder: {run.folder}\ndata: {run.images.source}")
    try:
        click.echo(run.carry_out())
    except KeyboardInterrupt:
        click.echo(f"\nInterrupted. To go on: python train/cifar.py --resume {run.folder}")
        sys.exit(_INTERRUPTED)
    except (FloatingPointError, ValueError) as error:
        raise click.ClickException(str(error)) from error
    click.echo(f"run folder: {run.folder}")


def _typed(given: dict[str, Any]) -> dict[str, Any]:
    """Options as fields of a recipe."""
    given = {"dataset": "cifar10", **given}
    if "levels" in given:
        given["levels"] = tuple(int(level) for level in given["levels"].split(","))
    if "data_dir" in given:
        given["data_dir"] = str(given["data_dir"])
    if given.get("threshold") not in (None, "median", "angle"):
        given["threshold"] = float(given["threshold"])
    return given
