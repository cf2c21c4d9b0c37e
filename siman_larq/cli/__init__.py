"""The command `siman-larq`. What takes TensorFlow is imported once a command runs."""

import click

from siman_larq.cli.bits import bits
from siman_larq.cli.convert import convert
from siman_larq.cli.published import published
from siman_larq.cli.start import SETTINGS, version
from siman_larq.cli.tasks import tasks
from siman_larq.cli.train import train_cifar, train_imagenet
from siman_larq.cli.verify import verify

__all__ = [
    "bits",
    "convert",
    "main",
    "published",
    "tasks",
    "train_cifar",
    "train_imagenet",
    "verify",
]


@click.group(context_settings=SETTINGS)
@version
def main() -> None:
    """SiMaN binary weights for Larq: training, conversion to 1-bit TFLite, verification."""


for _command in (train_cifar, train_imagenet, convert, verify, bits, published, tasks):
    main.add_command(_command)
