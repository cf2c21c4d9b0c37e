"""The command that lists trained networks and writes their 1-bit files."""

from pathlib import Path

import click

from siman_larq.cli.inputs import PATH, check_output, say
from siman_larq.cli.start import SETTINGS, one_sentence, start, version
from siman_larq.published import Published, find
from siman_larq.published import published as known

__all__ = ["published"]


@click.command(context_settings=SETTINGS)
@click.argument("name", required=False)
@click.option("-o", "--output", type=PATH, help="The 1-bit TFLite file of NAME to write.")
@click.option("--overwrite", is_flag=True, help="Whether it may replace a file.")
@version
def published(name: str | None, output: Path | None, overwrite: bool) -> None:
    """Lists the trained networks that come with the package, or writes the file of one.

    The file is ready to run: siman-run model.tflite picture.png
    """
    if name is None:
        if output is not None:
            raise click.ClickException("Give the name of a network beside --output.")
        click.echo("\n".join(map(_told, known().values())) or "There are none in this version.")
        return
    with one_sentence(ValueError):
        record = find(name)
    if output is None:
        click.echo(_told(record))
        return
    check_output(output, overwrite)
    start()
    say("converting, which takes a minute for large networks")
    with one_sentence(ImportError, OSError, ValueError):
        from siman_larq.files import write_atomically
        from siman_larq.models.trained import tflite

        content = tflite(record)
        write_atomically(output, content)
    click.echo(
        f"{output}: {len(content):,} bytes, {len(record.input_settings['class_names'])} classes"
    )


def _told(record: Published) -> str:
    height, width, channels = record.input_shape
    recipe = record.recipe
    return (
        f"{record.name}\n"
        f"  images           {height} x {width} x {channels}, {record.num_classes} classes; "
        f"{record.data}\n"
        f"  trained on       {record.train_images:,} images, {recipe['epochs']} epochs, seed "
        f"{recipe['seed']}\n"
        f"  right            {record.keras_accuracy:.2%} of {record.test_images:,} test images in "
        f"Keras, {record.tflite_accuracy:.2%} in the 1-bit file; same class in "
        f"{record.agreement:.2%}\n"
        f"  1-bit file       {record.tflite_bytes:,} bytes: siman-larq published {record.name} "
        f"--output model.tflite\n"
        f"  in Keras         models.{record.network}(weights={record.weights!r})\n"
        f"  licence          {record.licence}; images {record.data_licence}"
    )
