"""Publishes the network of a finished run folder: weights in the package, a card in results/.

    python tools/publish.py runs/FOLDER resnet20-fashion_mnist

It needs recipe.json, history.csv and model.keras in the folder, and the data set. The network is
tested on all test images, in Keras and as a 1-bit file; nothing is written unless it loads back
with equal outputs.
"""

import argparse
import dataclasses
import hashlib
import json
import math
import shlex
import shutil
import sys
import tempfile
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

import siman_larq
from siman_larq import data, published
from siman_larq.choices import CIFAR_MODELS
from siman_larq.cli.train import train_cifar
from siman_larq.conversion import Report
from siman_larq.conversion.comparison import share_right
from siman_larq.files import write_atomically
from siman_larq.models.trained import untrained
from siman_larq.published import Published
from siman_larq.training.images import same_images
from siman_larq.training.network import build_model
from siman_larq.training.recipe import Recipe
from siman_larq.training.recipes import recipe_for
from siman_larq.training.report import finish
from siman_larq.training.run import load_images

RESULTS = Path(__file__).resolve().parents[1] / "results"
_DATA_LICENCES = {"fashion_mnist": "MIT (Zalando SE)", "fashion_mnist_mini": "MIT (Zalando SE)"}
_LICENCE = "Apache-2.0"
_KEPT = ("recipe.json", "history.csv", "codes.csv", "report.md", "report.json")

CARD = """\
# {name}

{network} with 1-bit weights and activations, trained on {train_images:,} images of
{dataset} ({data}). It comes with the package:

```python
model = siman_larq.models.{network}(weights="{weights}")
```

```bash
siman-larq published {name} --output model.tflite
siman-run model.tflite picture.png
```

| on all {test_images:,} test images | |
|---|---|
| right in Keras | {keras_accuracy:.2%} |
| right in the 1-bit file, in {kernel} | {tflite_accuracy:.2%} |
| same class in both | {agreement:.2%} |
| standard error of either share, from the number of images alone | {error:.2f} points |
| size of the weights, `{name}.npz` | {weights_bytes:,} bytes |
| size of the 1-bit file | {tflite_bytes:,} bytes |

## Training

{epochs} epochs in batches of {batch_size}, seed {seed}{held_out}; the weights are those after the
last epoch, not those of the best. The settings are in [recipe.json](recipe.json), the figures of
every epoch in [history.csv](history.csv), and [report.md](report.md) is the report of the run,
whose model files are not here.{notes}

To repeat it:

```bash
{command}
```

Another machine, or another number of threads, adds up in another order, and ends as another seed
does, with other weights and another accuracy. How far apart seeds end after this training was not
measured.

## Limits

Every picture gets one of the {num_classes} classes, whatever it shows: {class_names}.
Its pictures are prepared as those of the training, {picture}; nothing is known
of its accuracy on other ones.

## Licence

The weights: {licence}, as the package. The images: {data_licence}.

SHA-256 of `{name}.npz`: `{sha256}`.
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else None)
    parser.add_argument("run", type=Path, help="a finished run folder")
    parser.add_argument("name", help="NETWORK-WEIGHTS, such as resnet20-fashion_mnist")
    parser.add_argument(
        "--note", action="append", default=[], help="a paragraph of the card on the training"
    )
    parser.add_argument("--trained-on", help="the machine that trained it, if it is not this one")
    parser.add_argument("--data-licence", help="of the images, where it is not known")
    parser.add_argument("--package", type=Path, default=published.FOLDER, help="for .npz and .json")
    parser.add_argument("--results", type=Path, default=RESULTS, help="folder of cards")
    arguments = parser.parse_args()
    try:
        publish(**vars(arguments))
    except (OSError, ValueError) as error:
        sys.exit(f"{arguments.run} cannot be published: {error}")


def publish(
    run: Path,
    name: str,
    note: list[str],
    data_licence: str | None = None,
    trained_on: str | None = None,
    package: Path = published.FOLDER,
    results: Path = RESULTS,
) -> Published:
    """Tests the network of a run folder, and writes its files.

    # Arguments
        run: The run folder.
        name: What it is called from now on.
        note: Paragraphs of its card.
        data_licence: The licence of its images.
        trained_on: The machine that trained it, if it is not this one.
        package: Where its weights go.
        results: Where the folder with its card goes.

    # Raises
        ValueError: when it is not the network that its recipe tells, does not come back whole, or
            its images are not those that it began with.
    """
    recipe = Recipe.load(run / "recipe.json")
    if recipe.is_float:
        raise ValueError("its recipe says is_float, and published are binary networks.")
    network, _, weights = name.partition("-")
    if network != recipe.model or network not in CIFAR_MODELS or not weights:
        raise ValueError(
            f"it holds a {recipe.model}, and {name!r} is no name for that; use one of "
            f"{', '.join(CIFAR_MODELS)}, a hyphen and a name for the weights."
        )
    licence = data_licence or _DATA_LICENCES.get(recipe.dataset)
    if licence is None:
        raise ValueError(f"the licence of {recipe.dataset} is unknown; give --data-licence.")
    model = tf.keras.models.load_model(run / "model.keras", compile=False)
    images = load_images(dataclasses.replace(recipe, test_examples=None, held_out=0))
    trained = load_images(recipe)
    same_images(run, trained, is_chief=False)
    shape = tuple(model.input_shape[1:])
    settings = images.input_settings(shape) | {"class_names": list(images.class_names)}
    shown = _without_paths(recipe)
    record = Published(
        network=network,
        weights=weights,
        sha256="",
        input_shape=shape,
        num_classes=images.num_classes,
        input_settings=settings,
        recipe=json.loads(json.dumps(dataclasses.asdict(shown))),
        train_images=trained.train_count,
        test_images=images.test_count,
        keras_accuracy=0.0,
        tflite_accuracy=0.0,
        agreement=0.0,
        tflite_bytes=0,
        data=images.source,
        data_licence=licence,
        licence=_LICENCE,
    )
    with tempfile.TemporaryDirectory() as folder:
        content = _packed(model, Path(folder) / "weights.npz")
        built = untrained(record)
        siman_larq.load_binary(built, Path(folder) / "weights.npz")
        report, labels = _tested(
            shown, run, Path(folder), model, built, images, trained, trained_on
        )
        record = dataclasses.replace(
            record,
            sha256=hashlib.sha256(content).hexdigest(),
            keras_accuracy=_share_right(report.keras_outputs, labels),
            tflite_accuracy=_share_right(report.tflite_outputs, labels),
            agreement=float(report.agreement or 0),
            tflite_bytes=report.size_bytes,
        )
        _write(record, content, report.kernel, note, Path(folder) / "run", package, results)
    return record


def _without_paths(recipe: Recipe) -> Recipe:
    """A recipe that says nothing of the machine it was carried out on."""
    teacher = recipe.teacher and f"runs/{Path(recipe.teacher).name}"
    return dataclasses.replace(recipe, data_dir=None, teacher=teacher)


def _packed(model: tf.keras.Model, path: Path) -> bytes:
    with warnings.catch_warnings():
        # Published are bits; a kernel that would stay latent weights is an error.
        warnings.simplefilter("error")
        siman_larq.save_binary(model, path)
    return path.read_bytes()


def _tested(
    recipe: Recipe,
    run: Path,
    folder: Path,
    model: tf.keras.Model,
    built: tf.keras.Model,
    images: data.ImageSource,
    trained: data.ImageSource,
    trained_on: str | None,
) -> tuple[Report, np.ndarray]:
    """The run's report made anew, in the folder `run`, and its file on all test images."""
    again = folder / "run"
    again.mkdir()
    recipe.save(again / "recipe.json")
    shutil.copy(run / "history.csv", again)
    if (run / "codes.csv").exists():
        shutil.copy(run / "codes.csv", again)
    print(finish(recipe, again, model, trained, trained_on))
    inputs, labels = images.test_sample(images.test_count, model.input_shape[1:])
    twin = built
    if recipe.precision != "float32":  # what is published computes in float32, and rounds less
        twin = build_model(recipe, images.num_classes)
        siman_larq.load_binary(twin, folder / "weights.npz")
    if not np.array_equal(*(each.predict(inputs, 256, verbose=0) for each in (model, twin))):
        raise ValueError("its weights do not give the same outputs once they are loaded back.")
    print(f"Verifying the file on all {len(inputs):,} test images, for minutes.")
    return siman_larq.verify(built, (again / "model.tflite").read_bytes(), inputs), labels


def _share_right(outputs: Any, labels: np.ndarray) -> float:
    share = share_right(outputs, labels)
    if share is None:
        raise ValueError("its outputs on all test images are too many to be kept and judged.")
    return share


def _write(
    record: Published,
    content: bytes,
    kernel: str,
    notes: list[str],
    run: Path,
    package: Path,
    results: Path,
) -> None:
    fields = json.dumps(dataclasses.asdict(record), indent=2, ensure_ascii=False)
    write_atomically(package / f"{record.name}.npz", content)
    write_atomically(package / f"{record.name}.json", fields + "\n")
    folder = results / record.name
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    for path in sorted(run.iterdir()):
        if path.name in _KEPT or path.suffix == ".png":
            shutil.copy(path, folder)
    write_atomically(folder / "README.md", _card(record, len(content), kernel, notes))
    print(f"{record.name}: {record.keras_accuracy:.2%} of {record.test_images:,}; see {folder}")


def _card(record: Published, size: int, kernel: str, notes: list[str]) -> str:
    recipe = Recipe(**{**record.recipe, "levels": tuple(record.recipe["levels"])})
    share = record.keras_accuracy
    picture, settings = "", record.input_settings
    if settings.get("is_grey"):
        picture += "in grey, "
    if settings.get("picture_size"):
        picture += "{} x {} pixels inside a black border of ".format(*settings["picture_size"])
    held_out = f", {recipe.held_out:,} training images held out" if recipe.held_out else ""
    return CARD.format(
        **dataclasses.asdict(record)
        | {"class_names": ", ".join(settings["class_names"]), "held_out": held_out},
        name=record.name,
        dataset=recipe.dataset,
        kernel=kernel,
        error=100 * math.sqrt(share * (1 - share) / record.test_images),
        weights_bytes=size,
        epochs=recipe.epochs,
        batch_size=recipe.batch_size,
        seed=recipe.seed,
        picture=picture + "{} x {}".format(*record.input_shape),
        notes="".join(f"\n\n{note}" for note in notes),
        command=command_of(recipe),
    )


def command_of(recipe: Recipe) -> str:
    """The command that trains by a recipe.

    # Raises
        ValueError: for a recipe that no command gives.
    """
    usual = recipe_for(recipe.dataset)
    words = ["siman-larq", "train-cifar"]
    known = {field.name for field in dataclasses.fields(Recipe)}
    without = known - {option.name for option in train_cifar.params}
    for name in sorted(without):
        if getattr(recipe, name) != getattr(usual, name):
            raise ValueError(
                f"{name}={getattr(recipe, name)!r} is no option of train-cifar, so no command "
                "could repeat the run; train without it."
            )
    for option in train_cifar.params:
        if option.name not in known:
            continue
        value: Any = getattr(recipe, option.name)
        # The usual warm-up goes by the number of epochs.
        always = ("model", "dataset", "warmup_epochs", "seed")
        if value == getattr(usual, option.name) and option.name not in always:
            continue
        words.append(option.opts[-1])
        if option.name == "levels":
            words.append(",".join(map(str, value)))
        elif value is not True:
            words.append(str(value))
    return shlex.join(words)


if __name__ == "__main__":
    main()
