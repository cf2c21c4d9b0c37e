"""The commands that train; their options are those of a recipe."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from siman_larq.choices import (
    AUGMENTATIONS,
    CIFAR_MODELS,
    CLAMPS,
    CODES,
    DATASET_NAMES,
    FOLDER,
    IMAGENET_MODELS,
    KERNEL_OPTIMIZERS,
    PRECISIONS,
    RECIPES,
    STRATEGIES,
    STYLES,
)
from siman_larq.cli.start import SETTINGS, start, typed_options, version

if TYPE_CHECKING:
    from siman_larq.training.run import Run

__all__ = ["train_cifar", "train_imagenet"]

_PATH = click.Path(path_type=Path)

_SHARED = (
    click.option("--data-dir", type=_PATH, help="Folder of TFDS data sets."),
    click.option("--epochs", type=click.IntRange(min=1), help="Passes over the training images."),
    click.option("--batch-size", type=click.IntRange(min=1), help="Images per step, in all."),
    click.option("--train-examples", type=click.IntRange(min=1), help="Only the first N images."),
    click.option("--test-examples", type=click.IntRange(min=1), help="Only the first N of these."),
    click.option(
        "--held-out",
        type=click.IntRange(min=0),
        help="Test on the last N training images, which are not trained on then, to choose "
        "settings by; of images in memory.  [default: 0]",
    ),
    click.option(
        "--skip-damaged",
        type=click.IntRange(min=0),
        help="Leave out up to N images that cannot be read, and name them.  [default: 0]",
    ),
    click.option("--seed", type=click.IntRange(min=0), help="Seed of everything random."),
    click.option("--learning-rate", type=float, help="Peak learning rate."),
    click.option("--weight-decay", type=float, help="l2 on all but binary kernels and alpha."),
    click.option("--warmup-epochs", type=click.IntRange(min=0), help="Linear warm-up."),
    click.option("--clip-start", type=float, help="Percentile clamp in the first epoch."),
    click.option(
        "--clamp", type=click.Choice(CLAMPS), help="Tails that it clamps.  [default: both]"
    ),
    click.option("--binary-decay", type=float, help="l2 on binary kernels.  [default: 0]"),
    click.option(
        "--kernel-rate", type=float, help="Learning rate of binary kernels, times.  [default: 1]"
    ),
    click.option(
        "--kernel-optimizer",
        type=click.Choice(KERNEL_OPTIMIZERS),
        help="Of binary kernels; adam wants a --kernel-rate of about 0.01.  [default: sgd]",
    ),
    click.option(
        "--two-steps",
        is_flag=True,
        default=None,
        help="Real weights for the first half of the epochs, binary ones from there.",
    ),
    click.option(
        "--teacher",
        type=_PATH,
        help="Whose answers to train on: a run folder, or a file of weights of a ResNet of Keras "
        "Applications.",
    ),
    click.option("--temperature", type=float, help="Of its answers.  [default: 1]"),
    click.option(
        "--float",
        "is_float",
        is_flag=True,
        default=None,
        help="A network of the same shape with real weights and activations, such as a teacher.",
    ),
    click.option("--label-smoothing", type=float, help="Share of labels.  [default: 0]"),
    click.option(
        "--augmentation",
        type=click.Choice(AUGMENTATIONS),
        help="Crop training images at random and flip them, flip them only, or leave them as they "
        "are.  [default: crop]",
    ),
    click.option(
        "--erasing",
        type=float,
        help="Probability of erasing a rectangle of an image.  [default: 0]",
    ),
    click.option(
        "--ema",
        type=float,
        help="Momentum of averages of all weights but binary kernels.  [default: none]",
    ),
    click.option(
        "--gradient-width",
        type=float,
        help="Width of the activations' gradient, in standard deviations.  [default: 1]",
    ),
    click.option(
        "--centred",
        is_flag=True,
        default=None,
        help="Take the mean over the filters off every binary convolution, for levels 0,1.",
    ),
    click.option(
        "--rprelu/--no-rprelu", default=None, help="Learned shifts before and after PReLU."
    ),
    click.option(
        "--channel-shift/--no-channel-shift", default=None, help="Learned shifts before the signs."
    ),
    click.option(
        "--levels", type=click.Choice(["-1,1", "0,1"]), help="Levels of the code.  [default: -1,1]"
    ),
    click.option(
        "--code", type=click.Choice(CODES), help="Code of binary kernels.  [default: magnitude]"
    ),
    click.option("--threshold", help="'median', 'angle' or a share of ones.  [default: median]"),
    click.option(
        "--strategy", type=click.Choice(STRATEGIES), help="Devices to use.  [default: single]"
    ),
    click.option(
        "--precision", type=click.Choice(PRECISIONS), help="Of Keras.  [default: float32]"
    ),
    click.option("--xla", is_flag=True, default=None, help="Let XLA compile the training step."),
    click.option("--resume", "resumed", type=_PATH, help="Go on with this run."),
    click.option("--smoke", is_flag=True, help="A short check: 2 epochs of few images."),
    click.option("--output-dir", type=_PATH, default=Path("runs"), help="Run folders."),
    click.option(
        "--run-dir",
        type=_PATH,
        help="This very run folder; a run that is in it goes on. Several workers need one.",
    ),
)


class _Dataset(click.Choice):
    """A name of a data set, or a folder."""

    def convert(self, value: Any, param: Any, context: Any) -> Any:
        return value if str(value).startswith(FOLDER) else super().convert(value, param, context)


def _shared(command: Callable) -> Callable:
    command = version(command)
    for option in reversed(_SHARED):
        command = option(command)
    return command


@click.command("train-cifar", context_settings=SETTINGS)
@click.option("--model", type=click.Choice(CIFAR_MODELS), help="The network.  [default: resnet20]")
@click.option(
    "--dataset",
    type=_Dataset([*DATASET_NAMES, f"{FOLDER}DIR"]),
    default="cifar10",
    help="The images; folder:DIR takes your own, with a folder of pictures for each class.",
)
@click.option(
    "--recipe",
    type=click.Choice(RECIPES),
    help="The official one, or it with the settings that gained most at equal budget in the short "
    "trainings of studies/recipe.toml: --augmentation none.  [default: official]",
)
@_shared
@click.pass_context
def train_cifar(context: click.Context, **options: Any) -> None:
    """Trains a SiMaN network, converts it to 1-bit TFLite and verifies the file.

    Options that are not given follow the data set: the official recipe for CIFAR (400 epochs,
    batches of 256, SGD 0.1, five epochs of warm-up, cosine, weight decay 5e-4 everywhere but on
    binary kernels and alpha), a shorter one for Fashion-MNIST.
    """
    _train(context, "recipe_for", options)


@click.command("train-imagenet", context_settings=SETTINGS)
@click.option(
    "--model",
    type=click.Choice(IMAGENET_MODELS),
    help="The network.  [default: resnet18_imagenet]",
)
@click.option(
    "--dataset",
    help="Any TFDS classification set, or folder:DIR, your own pictures with a folder for each "
    "class.  [default: imagenet2012]",
)
@click.option("--image-size", type=click.IntRange(min=32), help="Pixels a side.  [default: 224]")
@click.option(
    "--recipe", "style", type=click.Choice(STYLES), help="Whose settings.  [default: official]"
)
@_shared
@click.pass_context
def train_imagenet(context: click.Context, **options: Any) -> None:
    """Trains a SiMaN network on large images, converts it to 1-bit TFLite and verifies the file.

    Images are read, decoded and cropped while the network trains. Options that are not given are
    those of the official recipe (150 epochs, batches of 512, SGD 0.1, cosine, weight decay 1e-4
    everywhere but on binary kernels and alpha), with --recipe zoo those of Larq Zoo, with --recipe
    reactnet those of ReActNet and AdamBNN (two times 128 epochs, the first with real weights, Adam
    2.5e-3, linear decay, weight decay 5e-6 in the first; RPReLU and shifts before the signs; for
    ImageNet the answers of a ResNet of Keras Applications whose weights are in Keras's cache).
    """
    _train(context, "imagenet_recipe_for", options)


def _train(context: click.Context, maker: str, options: dict[str, Any]) -> None:
    click.echo("Loading TensorFlow.")
    start()
    from siman_larq.training import recipes
    from siman_larq.training.cli import carry_out

    make_recipe = getattr(recipes, maker)
    command = context.command_path.split()[1:]
    carry_out(
        lambda: _run(context, make_recipe, **options),
        lambda folder: [*command, "--resume", str(folder)],
    )


def _run(
    context: click.Context,
    make_recipe: Callable,
    resumed: Path | None,
    output_dir: Path,
    run_dir: Path | None,
    smoke: bool,
    **settings: Any,
) -> "Run":
    from siman_larq.training.run import create, reopen

    given = typed_options(context, "resumed")
    if resumed is not None:
        if given:
            raise click.UsageError(
                f"--resume takes the run's own recipe; leave out {', '.join(given)}."
            )
        return reopen(resumed)
    if {"--output-dir", "--run-dir"} <= {*given}:
        raise click.UsageError("Give either --output-dir or --run-dir, the run folder itself.")
    return create(make_recipe(smoke=smoke, **_typed(settings)), output_dir, run_dir)


def _typed(given: dict[str, Any]) -> dict[str, Any]:
    """Options as fields of a recipe."""
    given = {name: value for name, value in given.items() if value is not None}
    if "levels" in given:
        given["levels"] = tuple(int(level) for level in given["levels"].split(","))
    for name in given.keys() & {"data_dir", "teacher"}:
        given[name] = str(given[name])
    if given.get("threshold") not in (None, "median", "angle"):
        try:
            given["threshold"] = float(given["threshold"])
        except ValueError:
            raise ValueError(
                f"--threshold {given['threshold']} is unknown; use median, angle or a share of "
                "ones between 0 and 1."
            ) from None
    return given
