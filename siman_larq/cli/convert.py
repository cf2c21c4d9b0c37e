"""The command that makes a 1-bit TFLite file."""

import json
from pathlib import Path
from typing import Any

import click

from siman_larq.cli.inputs import PATH, check_output, load, require, say
from siman_larq.cli.int8 import Int8Images
from siman_larq.cli.start import SETTINGS, one_sentence, version

__all__ = ["convert"]


@click.command(context_settings=SETTINGS)
@click.argument("model", type=PATH)
@click.option("-o", "--output", type=PATH, help="The file to write.  [default: beside MODEL]")
@click.option("--overwrite", is_flag=True, help="Whether it may replace a file.")
@click.option(
    "--small-maps",
    type=click.Choice(["rewrite", "warn"]),
    help="What to do where zero padding meets a map smaller than the kernel, which LCE gets "
    "wrong.  [default: rewrite, if inputs have a fixed size]",
)
@click.option(
    "--allow-float", multiple=True, metavar="LAYER", help="A binary layer that may stay float."
)
@click.option("--time-limit", type=float, default=900, help="Seconds after which LCE is stopped.")
@click.option(
    "--input-settings",
    type=PATH,
    help="A JSON file of what siman-run does to pictures.  [default: input.json beside MODEL]",
)
@click.option(
    "--float-ops",
    type=click.Choice(["float32", "int8"]),
    default="float32",
    help="What float convolutions and dense layers compute in.",
)
@click.option(
    "--samples", type=PATH, help="For int8: a .npy or .npz file of images, as MODEL takes them."
)
@click.option(
    "--run-dir",
    type=PATH,
    help="For int8: a run folder, whose training images are the samples, and whose test images, "
    "or those held out in their place, tell the accuracy.",
)
@version
def convert(
    model: Path,
    output: Path | None,
    overwrite: bool,
    input_settings: Path | None,
    small_maps: str | None,
    allow_float: tuple[str, ...],
    time_limit: float,
    float_ops: str,
    samples: Path | None,
    run_dir: Path | None,
) -> None:
    """Converts MODEL, a .keras or .h5 file or a SavedModel's folder, to 1-bit TFLite.

    Every binary layer must become a 1-bit op, but for those named with --allow-float. With
    --float-ops int8 the others compute in 8-bit integers, in ranges measured on samples.
    """
    if (samples is not None) + (run_dir is not None) != (float_ops == "int8"):
        raise click.ClickException(
            "Give --float-ops int8 with either --samples or --run-dir, to measure ranges on; "
            "without it neither."
        )
    for path in (model, samples, run_dir):
        if path is not None:
            require(path)
    output = output or _beside(model)
    check_output(output, overwrite, model)
    settings = _settings(model, input_settings)
    network = load(model)
    if settings is not None:
        with one_sentence(ValueError):
            from siman_larq.conversion.metadata import check_input_settings

            check_input_settings(network, settings)
    images = Int8Images(network, samples, run_dir) if float_ops == "int8" else None
    say("converting, which takes a minute for large networks")
    with one_sentence(ImportError, OSError, TypeError, ValueError):
        import siman_larq
        from siman_larq.conversion import add_input_settings
        from siman_larq.files import write_atomically

        tflite = siman_larq.convert(
            network,
            allow_float=allow_float,
            small_maps=small_maps or ("rewrite" if _has_fixed_sizes(network) else "warn"),
            time_limit=time_limit,
            float_ops=float_ops,
            samples=images and images.samples,
        )
        if settings is not None:
            tflite = add_input_settings(tflite, settings)
        write_atomically(output, tflite)
        rows = _rows(output, network, tflite) + (images.rows(tflite) if images else [])
    click.echo("\n".join(f"{name:<20}  {value}" for name, value in rows))


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
    require(path)
    try:
        settings = json.loads(path.read_text())
        if not isinstance(settings, dict):
            raise ValueError("it holds no names")
    except (OSError, ValueError) as error:
        raise click.ClickException(f"{path} cannot be read as JSON settings ({error}).") from error
    say(f"taking {path} into the file")
    return settings


def _has_fixed_sizes(network: Any) -> bool:
    return all(None not in tuple(tensor.shape)[1:] for tensor in network.inputs or [])


def _rows(output: Path, network: Any, tflite: bytes) -> list[tuple[str, str]]:
    from siman_larq.conversion.packing import packed_layers

    packed, left = packed_layers(network, tflite)
    return [
        ("file", str(output)),
        ("file size", f"{len(tflite):,} bytes"),
        ("packed binary layers", f"{len(packed)} of {len(packed) + len(left)}"),
        ("left float", ", ".join(layer.name for layer in left) or "none"),
    ]
