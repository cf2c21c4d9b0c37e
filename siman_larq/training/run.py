"""One training run, from recipe to verified 1-bit file, in one folder."""

import re
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tensorflow as tf

from siman_larq import data
from siman_larq.callbacks import ClipAnnealing
from siman_larq.training.callbacks import Checkpoints, history_without_lost_epochs
from siman_larq.training.distribution import distributed, evaluation, is_chief, make_strategy
from siman_larq.training.network import build_model, image_shape
from siman_larq.training.progress import Progress, Stopwatch
from siman_larq.training.recipe import Recipe, evaluation_batch
from siman_larq.training.report import finish
from siman_larq.training.zoo_recipes import schedule

__all__ = ["Run", "create", "load_images", "reopen", "train"]


def _new_run_folder(recipe: Recipe, parent: Path) -> Path:
    """Makes a folder with a name of its own, and puts the recipe in."""
    stamp = time.strftime("%Y%m%d-%H%M%S")
    dataset = re.sub(r"[^\w.]+", "_", recipe.dataset)
    name = f"{recipe.model}-{dataset}-seed{recipe.seed}-{stamp}"
    for suffix in ["", *(f"-{n}" for n in range(2, 100))]:
        folder = parent / (name + suffix)
        try:
            folder.mkdir(parents=True)
        except FileExistsError:
            continue
        recipe.save(folder / "recipe.json")
        return folder
    raise FileExistsError(f"{parent / name} and 98 more exist; give another --output-dir.")


def train(
    recipe: Recipe,
    folder: Path,
    images: data.ImageSource,
    strategy: tf.distribute.Strategy | None = None,
    experiment: Any = None,
) -> tf.keras.Model:
    """Trains, or goes on with a training that was cut off, and returns the trained model.

    Everything random depends on the seed, the epoch and the step alone, so a run that was killed
    and resumed ends with the same weights as an unbroken one.

    # Arguments
        recipe: What to train.
        folder: The run folder; all workers must see the same one.
        images: What to train and test on.
        strategy: From `make_strategy`; a single device if `None`.
        experiment: As for `build_model`.

    # Returns
        The trained model, for one device.
    """
    strategy = strategy or tf.distribute.get_strategy()
    chief = is_chief(strategy)
    with strategy.scope():
        model = build_model(recipe, images.num_classes, images.train_count, experiment)
        checkpoints = Checkpoints(model, folder / "checkpoints", is_chief=chief)
    done = checkpoints.restore()
    if done < recipe.epochs:
        callbacks = [*_settings(recipe, experiment), Stopwatch(), checkpoints]
        with data.damage_explained(images):
            _fit(recipe, folder, images, strategy, model, callbacks, done)
    if strategy is tf.distribute.get_strategy():
        return model
    # What writes files or converts runs in one process alone, which a spread model does not allow.
    single = build_model(recipe, images.num_classes, images.train_count, experiment)
    Checkpoints(single, folder / "checkpoints").restore()
    return single


def _fit(
    recipe: Recipe,
    folder: Path,
    images: data.ImageSource,
    strategy: tf.distribute.Strategy,
    model: tf.keras.Model,
    callbacks: list[tf.keras.callbacks.Callback],
    done: int,
) -> None:
    shape = image_shape(recipe)
    steps = data.steps_per_epoch(images.train_count, recipe.batch_size)
    batches = distributed(
        strategy,
        lambda share: images.train_batches(
            batch_size=recipe.batch_size,
            image_shape=shape,
            seed=recipe.seed,
            first_epoch=done,
            epochs=recipe.epochs,
            share=share,
        ),
    )
    progress = Progress(done, recipe.epochs, steps, is_shown=is_chief(strategy))
    if is_chief(strategy):
        history_without_lost_epochs(folder / "history.csv", done)
        # Before the checkpoint, so that no epoch in a checkpoint is lacking in the history.
        callbacks[-1:-1] = [
            tf.keras.callbacks.TensorBoard(
                str(folder / "tensorboard"), write_graph=False, profile_batch=0
            ),
            tf.keras.callbacks.CSVLogger(str(folder / "history.csv"), append=done > 0),
        ]
    try:
        model.fit(
            batches,
            initial_epoch=done,
            epochs=recipe.epochs,
            steps_per_epoch=steps,
            validation_data=evaluation(
                images.eval_batches(batch_size=evaluation_batch(recipe), image_shape=shape)
            ),
            verbose=0,
            callbacks=[*callbacks, progress],
        )
    finally:
        progress.close()


def _settings(recipe: Recipe, experiment: Any) -> list[tf.keras.callbacks.Callback]:
    """What changes from epoch to epoch."""
    by_epoch = schedule(recipe, experiment)
    rate = [tf.keras.callbacks.LearningRateScheduler(by_epoch)] if by_epoch else []
    clip = [ClipAnnealing(recipe.clip_start)] if recipe.clip_start else []
    return [*rate, *clip]


@dataclass(frozen=True)
class Run:
    """A run folder with its recipe, its images and its devices."""

    recipe: Recipe
    folder: Path
    images: data.ImageSource
    strategy: tf.distribute.Strategy
    experiment: Any = None

    def carry_out(self) -> str:
        """Trains what is left to train; the chief converts, verifies and reports.

        # Returns
            The final table; of workers other than the chief, one line.
        """
        model = train(self.recipe, self.folder, self.images, self.strategy, self.experiment)
        if not is_chief(self.strategy):
            return "This worker is done; the chief writes the report."
        with data.damage_explained(self.images):
            return finish(self.recipe, self.folder, model, self.images)


def create(recipe: Recipe, parent: Path, folder: Path | None = None, experiment: Any = None) -> Run:
    """A new run in a folder of its own, made once its images are found.

    # Arguments
        recipe: What to train.
        parent: Where the folder is made, with a name of its own.
        folder: The very folder to use. If a run with this recipe is in it, that run goes on.
        experiment: As for `build_model`.

    # Raises
        ValueError: when the folder holds a run with another recipe, or when several workers
            are not told one folder.
    """
    if recipe.strategy == "multiworker" and folder is None:
        raise ValueError(
            "strategy='multiworker' needs --run-dir, one folder that all workers can see."
        )
    # TensorFlow insists on the strategy first, and images are tensors.
    strategy = make_strategy(recipe.strategy)
    images = load_images(recipe)
    if folder is None:
        return Run(recipe, _new_run_folder(recipe, parent), images, strategy, experiment)
    if (folder / "recipe.json").is_file():
        kept = Recipe.load(folder / "recipe.json")
        if kept != recipe:
            raise ValueError(
                f"{folder} holds a run with another recipe; give another --run-dir, or go on with "
                f"that run: --resume {folder}"
            )
    elif is_chief(strategy):
        folder.mkdir(parents=True, exist_ok=True)
        recipe.save(folder / "recipe.json")
    return Run(recipe, folder, images, strategy, experiment)


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
    strategy = make_strategy(recipe.strategy)
    return Run(recipe, folder, load_images(recipe), strategy)


def load_images(recipe: Recipe) -> data.ImageSource:
    """The recipe's images: in memory for CIFAR and its like, streamed for ImageNet."""
    settings: dict[str, Any] = {
        "data_dir": recipe.data_dir,
        "train_examples": recipe.train_examples,
        "test_examples": recipe.test_examples,
        "skip_damaged": recipe.skip_damaged,
    }
    images: data.ImageSource
    if recipe.is_streamed:
        images = data.stream(recipe.dataset, **settings)
    else:
        images = data.MemorySource(data.load(recipe.dataset, **settings))
    data.steps_per_epoch(images.train_count, recipe.batch_size)  # an error before a folder is made
    return images
