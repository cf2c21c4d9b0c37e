"""The command that compares a TFLite file with its model."""

from pathlib import Path

import click

from siman_larq.cli.inputs import (
    PATH,
    first_images,
    image_shape,
    images_of_run,
    load,
    read_images,
    require,
    say,
)
from siman_larq.cli.start import SETTINGS, one_sentence, version

__all__ = ["verify"]


@click.command(context_settings=SETTINGS)
@click.argument("model", type=PATH)
@click.argument("tflite", type=PATH)
@click.option("--images", type=PATH, help="A .npy or .npz file of inputs, as MODEL takes them.")
@click.option(
    "--run-dir",
    type=PATH,
    help="A run folder, whose test images to take, or those held out in their place.",
)
@click.option("--examples", type=click.IntRange(min=1), default=1000, help="Only the first N.")
@click.option(
    "--runtime",
    type=click.Choice(["lce", "siman"]),
    help="What runs it.  [default: lce, with --layers siman]",
)
@click.option(
    "--layers", is_flag=True, help="Follow the images layer by layer: is it more than rounding?"
)
@click.option(
    "--strict",
    is_flag=True,
    help="Status 1 unless all outputs of all images are equal, or with --layers for a difference "
    "that rounding does not explain.",
)
@version
def verify(
    model: Path,
    tflite: Path,
    images: Path | None,
    run_dir: Path | None,
    examples: int,
    runtime: str | None,
    layers: bool,
    strict: bool,
) -> None:
    """Runs MODEL and TFLITE, the file made from it, on the same images, and compares them.

    In deep networks rounding may turn a sign in a few images, so only NaN and infinite values end
    with status 1, and with --strict any difference; --layers tells rounding from a wrong file.
    """
    if bool(images) == bool(run_dir):
        raise click.ClickException("Give either --images or --run-dir, to say what to run on.")
    for path in (model, tflite, images, run_dir):
        if path is not None:
            require(path)
    network = load(model)
    with one_sentence(ImportError, OSError, TypeError, ValueError):
        import siman_larq

        if images:
            sample, what = first_images(read_images(images), examples), f"images of {images}"
        else:
            shape = image_shape(network)
            source, what = images_of_run(run_dir)
            sample, _ = source.test_sample(examples, shape)
        say(f"running the model and the file on {what}")
        report = siman_larq.verify(
            network,
            tflite,
            sample,
            runtime=runtime or ("siman" if layers else "lce"),
            layers=layers,
        )
    click.echo(report)
    if any(output.not_finite for output in report.outputs):
        raise click.ClickException("There are NaN or infinite values in the outputs.")
    if strict and not report.is_of_model:
        raise click.ClickException(
            "The file does not agree with the model on all images."
            if report.layers is None
            else f"{report.layers}."
        )
