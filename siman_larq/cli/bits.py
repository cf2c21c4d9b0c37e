"""The command that shows the bits of a model."""

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING

import click

from siman_larq.cli.inputs import PATH, load, require
from siman_larq.cli.start import SETTINGS, one_sentence, version

if TYPE_CHECKING:
    from siman_larq.bits import Stored

__all__ = ["bits"]

_SHOWN = 64


@click.command(context_settings=SETTINGS)
@click.argument("model", type=PATH)
@click.option("--layer", metavar="NAME", help="This layer alone, with all of its first filter.")
@version
def bits(model: Path, layer: str | None) -> None:
    """Shows the bits of MODEL, a file of save_binary (.npz) or a Keras model.

    Of each binary kernel: its shape and levels, how many weights are the upper level, the bytes and
    the SHA-256 of its bits, packed 8 to a byte, and the bits of its first filter.
    """
    require(model)
    weights = _weights(model)
    binary = [weight for weight in weights if weight.is_binary]
    shown = [weight for weight in binary if layer in (None, weight.layer)]
    if layer is not None and not shown:
        known = ", ".join(dict.fromkeys(weight.layer for weight in binary)) or "none"
        raise click.ClickException(f"{model} has no binary layer {layer!r}; it has {known}.")
    for weight in shown:
        click.echo(_told(weight, is_whole=layer is not None))
    if layer is None:
        click.echo(_sum(weights))


def _weights(path: Path) -> list["Stored"]:
    if path.suffix == ".tflite":
        raise click.ClickException(
            f"{path} is a TFLite file, whose bits Larq Compute Engine packs in an order of its "
            "own; give the model it was made from."
        )
    if path.suffix != ".npz":
        network = load(path)
        with one_sentence(ValueError):
            from siman_larq.bits import stored_weights

            return stored_weights(network)
    with one_sentence(OSError, ValueError):
        from siman_larq.bits.file import read

        return read(path)


def _told(weight: "Stored", is_whole: bool) -> str:
    shape = " x ".join(map(str, weight.shape))
    if weight.code is None:
        size = 4 * weight.values.size
        return f"{weight.layer}: {weight.name} {shape}, latent weights of 32 bits, {size:,} bytes"
    ones, filter_ = int(weight.code.sum()), weight.first_filter.ravel()
    assert weight.levels is not None
    low, high = (f"{level:g}" for level in (weight.levels.min(), weight.levels.max()))
    levels = f"levels {low} and {high}" if weight.levels.ndim == 1 else "levels for each filter"
    text = "".join("01"[bit] for bit in filter_[: None if is_whole else _SHOWN].astype(int))
    more = f" ... ({filter_.size:,} in all)" if len(text) < filter_.size else ""
    return (
        f"{weight.layer}: {weight.name} {shape}, {levels}, {ones:,} of {weight.code.size:,} ones, "
        f"{len(weight.packed):,} bytes\n"
        f"  SHA-256       {hashlib.sha256(weight.packed).hexdigest()}\n"
        f"  first filter  {text}{more}"
    )


def _sum(weights: list["Stored"]) -> str:
    coded = [weight for weight in weights if weight.code is not None]
    size = sum(len(weight.packed) for weight in coded)
    count = sum(weight.values.size for weight in coded)
    rest = sum(weight.values.nbytes for weight in weights if weight.code is None)
    return (
        f"{len(coded)} binary kernels: {count:,} weights in {size:,} bytes; "
        f"all other weights: {rest:,} bytes"
    )
