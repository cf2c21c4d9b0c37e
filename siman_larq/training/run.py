"""One training run, from recipe to verified 1-bit file, in one folder."""

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tensorflow as tf

from siman_larq import data, models
from siman_larq.callbacks import ClipAnnealing
from siman_larq.checks import check_no_l2
from siman_larq.layers import SiMaNConv2D
from siman_larq.quantizers import SiMaNQuantizer
from siman_larq.training.callbacks import Checkpoints, Progress, history_without_lost_epochs
from siman_larq.training.optimizer import CoupledDecaySGD, binary_variables
from siman_larq.training.recipe import Recipe
from siman_larq.training.report import finish

__all__ = ["Run", "build_model", "create", "reopen", "train"]

IMAGE_SHAPE = (32, 32, 3)


def _new_run_folder(recipe: Recipe, parent: Path) -> Path:
    """Makes a folder with a name of its own, and puts the recipe in."""
    stamp = time.strftime("%Y%m%d-%H%M%S")
    name = f"{recipe.model}-{recipe.dataset}-seed{recipe.seed}-{stamp}"
    for suffix in ["", *(f"-{n}" for n in range(2, 100))]:
        folder = parent / (name + suffix)
        try:
            folder.mkdir(parents=True)
        except FileExistsError:
            continue
        recipe.save(folder / "recipe.json")
        return folder
    raise FileExistsError(f"{parent / name} and 98 more exist; give another --output-dir.")


def build_model(recipe: Recipe, num_classes: int) -> tf.keras.Model:
    """The recipe's network, compiled with the recipe's optimizer; same seed, same weights."""
    tf.keras.utils.set_random_seed(recipe.seed)

    def conv(*args: Any, **kwargs: Any) -> tf.keras.layers.Layer:
        quantizer = SiMaNQuantizer(levels=recipe.levels, threshold=recipe.threshold)
        return SiMaNConv2D(*args, **{"kernel_quantizer": quantizer, **kwargs})

    model = getattr(models, recipe.model)(IMAGE_SHAPE, num_classes, conv=conv)
    optimizer = CoupledDecaySGD(recipe.learning_rate, recipe.momentum, l2=recipe.weight_decay)
    optimizer.exclude(binary_variables(model))
    loss = tf.keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(optimizer, loss, metrics=["accuracy"])
    check_no_l2(model)
    return model


def train(recipe: Recipe, folder: Path, images: data.ImageData) -> tf.keras.Model:
    """Trains, or goes on with a training that was cut off, and returns the trained model.

    Everything random depends on the seed, the epoch and the step alone, so a run that was killed
    and resumed ends with the same weights as an unbroken one.
    """
    model = build_model(recipe, images.num_classes)
    checkpoints = Checkpoints(model, folder / "checkpoints")
    done = checkpoints.restore()
    if done >= recipe.epochs:
        return model
    history_without_lost_epochs(folder / "history.csv", done)
    steps = data.steps_per_epoch(len(images.train_images), recipe.batch_size)
    batches = data.train_batches(
        images,
        batch_size=recipe.batch_size,
        image_shape=IMAGE_SHAPE,
        seed=recipe.seed,
        first_epoch=done,
        epochs=recipe.epochs,
    )
    evaluation = data.eval_batches(
        images.test_images, images.test_labels, batch_size=256, image_shape=IMAGE_SHAPE
    )
    progress = Progress(done, recipe.epochs, steps)
    try:
        model.fit(
            batches,
            initial_epoch=done,
            epochs=recipe.epochs,
            steps_per_epoch=steps,
            validation_data=evaluation,
            verbose=0,
            callbacks=[
                tf.keras.callbacks.LearningRateScheduler(recipe.learning_rate_at),
                ClipAnnealing(recipe.clip_start),
                tf.keras.callbacks.TensorBoard(str(folder / "tensorboard"), profile_batch=0),
                tf.keras.callbacks.CSVLogger(str(folder / "history.csv"), append=done > 0),
                # After the history, so that it never lacks an epoch that is in a checkpoint.
                checkpoints,
                progress,
            ],
        )
    finally:
        progress.close()
    return model


@dataclass(frozen=True)
class Run:
    """A run folder with its recipe and its images."""

    recipe: Recipe
    folder: Path
    images: data.ImageData

    def carry_out(self) -> str:
        """Trains what is left to train, converts, verifies, reports; returns the final table."""
        model = train(self.recipe, self.folder, self.images)
        return finish(self.recipe, self.folder, model, self.images)


def create(recipe: Recipe, parent: Path) -> Run:
    """A new run in a folder of its own, made once its images are found."""
    images = _load(recipe)
    return Run(recipe, _new_run_folder(recipe, parent), images)


def reopen(folder: Path) -> Run:
    """The run in a folder, to go on with. One that had ended makes its report again.

    # Raises
        FileNotFoundError: when the folder is no run folder.
    """
    if not (folder / "recipe.json").is_file():
        raise FileNotFoundError(
            f"{folder} has no recipe.json, so it is no run folder; give one of those that a "
            "training printed (by default runs/<model>-<dataset>-seed<seed>-<time>)."
        )
    recipe = Recipe.load(folder / "recipe.json")
    return Run(recipe, folder, _load(recipe))


def _load(recipe: Recipe) -> data.ImageData:
    return data.load(
        recipe.dataset,
        data_dir=recipe.data_dir,
        train_examples=recipe.train_examples,
        test_examples=recipe.test_examples,
    )
