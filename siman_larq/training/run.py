"""One training run, from recipe to verified 1-bit file, in one folder."""

import shlex
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import tensorflow as tf

from siman_larq import data
from siman_larq._scopes import quantized
from siman_larq.analysis import CodeLog
from siman_larq.callbacks import ClipAnnealing
from siman_larq.training.applications import CACHED
from siman_larq.training.callbacks import Averaged, Checkpoints
from siman_larq.training.distribution import distributed, evaluation, is_chief, make_strategy
from siman_larq.training.folder import (
    RECIPE,
    check_folder,
    claimed,
    differences,
    epochs_done,
    new_folder,
)
from siman_larq.training.images import described, same_images
from siman_larq.training.network import build_model, image_shape
from siman_larq.training.progress import Progress, Stopwatch, say
from siman_larq.training.recipe import Recipe, evaluation_batch
from siman_larq.training.report import finish
from siman_larq.training.teacher import Teacher, check_classes
from siman_larq.training.zoo_recipes import schedule

__all__ = ["Run", "create", "load_images", "reopen", "train"]

_NO_TEACHER = (
    "No teacher is at hand, so this run learns from the labels alone; for ImageNet's classes "
    f"tf.keras.applications.ResNet50() puts one into {CACHED.format('resnet50')}, and --teacher "
    "takes another file or run."
)


@quantized(False)
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
    if epochs_done(folder) < recipe.real_epochs:
        _train_step(recipe, folder, images, strategy, experiment, is_real=True)
    model = _train_step(recipe, folder, images, strategy, experiment, is_real=False)
    # What a teacher taught would be bound to it.
    if strategy is tf.distribute.get_strategy() and recipe.teacher is None:
        return _finalised(model, recipe)
    # What writes files or converts runs in one process alone, which a spread model does not allow.
    single = build_model(recipe, images.num_classes, images.train_count, experiment)
    Checkpoints(single, folder, is_chief=False).restore()
    return _finalised(single, recipe)


def _train_step(
    recipe: Recipe,
    folder: Path,
    images: data.ImageSource,
    strategy: tf.distribute.Strategy,
    experiment: Any,
    is_real: bool,
) -> tf.keras.Model:
    """Trains what is left of one of two steps, or of the only one."""
    chief = is_chief(recipe.strategy)
    log = CodeLog(folder if chief else None, first_epoch=recipe.real_epochs)
    with strategy.scope():
        model = build_model(recipe, images.num_classes, images.train_count, experiment, is_real)
        checkpoints = Checkpoints(model, folder, chief, log.flipped)
    done, end = checkpoints.restore(), recipe.real_epochs if is_real else recipe.epochs
    if done < end:
        if recipe.teacher is not None:
            with strategy.scope():
                teacher = Teacher(recipe.teacher, recipe.temperature)
                teacher.teach(model)
            teacher.keep(folder, chief)
        # Real weights have no code to write down.
        written = [Stopwatch(), checkpoints] if is_real else [Stopwatch(), log, checkpoints]
        callbacks = [*_settings(recipe, experiment, is_real), *written]
        with data.damage_explained(images):
            _fit(recipe, folder, images, strategy, model, callbacks, done, end)
    return model


def _finalised(model: tf.keras.Model, recipe: Recipe) -> tf.keras.Model:
    """With its averages in place, also where no `fit` has just ended."""
    if recipe.ema:
        model.optimizer.finalize_variable_values(model.trainable_variables)
    return model


def _fit(
    recipe: Recipe,
    folder: Path,
    images: data.ImageSource,
    strategy: tf.distribute.Strategy,
    model: tf.keras.Model,
    callbacks: list[tf.keras.callbacks.Callback],
    done: int,
    end: int,
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
            epochs=end,
            share=share,
        ),
    )
    chief = is_chief(recipe.strategy)
    progress = Progress(done, recipe.epochs, steps, is_shown=chief)
    if chief:
        board = tf.keras.callbacks.TensorBoard(
            str(folder / "tensorboard"), write_graph=False, profile_batch=0
        )
        callbacks = [*callbacks, board]
    try:
        model.fit(
            batches,
            initial_epoch=done,
            epochs=end,
            steps_per_epoch=steps,
            validation_data=evaluation(
                images.eval_batches(batch_size=evaluation_batch(recipe), image_shape=shape)
            ),
            verbose=0,
            callbacks=[*callbacks, progress],
        )
    finally:
        progress.close()


def _settings(
    recipe: Recipe, experiment: Any, is_real: bool = False
) -> list[tf.keras.callbacks.Callback]:
    """What changes from epoch to epoch."""
    by_epoch = schedule(recipe, experiment)
    rate = [tf.keras.callbacks.LearningRateScheduler(by_epoch)] if by_epoch else []
    has_codes = not (is_real or recipe.is_float)
    is_clamped = recipe.clip_start and recipe.clamp != "none" and has_codes
    clip = [ClipAnnealing(recipe.clip_start, recipe.real_epochs)] if is_clamped else []
    return [*rate, *clip, *([Averaged()] if recipe.ema else [])]


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

        # Raises
            ValueError: when another process is at work in the folder, its checkpoints cannot be
                used, or it began with other images.
        """
        chief = is_chief(self.recipe.strategy)
        with claimed(self.folder) if chief else nullcontext():
            same_images(self.folder, self.images, chief)
            if chief or not _is_trained(self.recipe, self.folder):
                model = train(self.recipe, self.folder, self.images, self.strategy, self.experiment)
            if not chief:
                return "This worker is done; the chief writes the report."
            with data.damage_explained(self.images):
                return finish(self.recipe, self.folder, model, self.images)


def create(recipe: Recipe, parent: Path, folder: Path | None = None, experiment: Any = None) -> Run:
    """A new run in a folder of its own, made once everything that it needs is found.

    # Arguments
        recipe: What to train.
        parent: Where the folder is made, with a name of its own.
        folder: The very folder to use: a new one, an empty one, or one in which a run with this
            recipe is, which then goes on.
        experiment: As for `build_model`.

    # Raises
        ValueError: when the folder holds something else, such as a run with another recipe, when
            several workers are not told one folder, or for a recipe that cannot be trained.
    """
    if recipe.strategy == "multiworker" and folder is None:
        raise ValueError(
            "strategy='multiworker' needs --run-dir, one folder that all workers can see."
        )
    if folder is not None and check_folder(folder):
        return _go_on(folder, recipe, experiment)
    # TensorFlow insists on the strategy first, and images are tensors.
    strategy = make_strategy(recipe.strategy)
    images = load_images(recipe)
    if is_chief(recipe.strategy):
        _check(recipe, images, strategy, experiment)
        if folder is None:
            folder = new_folder(recipe, parent)
        else:
            folder.mkdir(parents=True, exist_ok=True)
            with claimed(folder):
                if check_folder(folder):
                    _check_same(folder, recipe)
                else:
                    recipe.save(folder / RECIPE)
        if recipe.style == "reactnet" and recipe.teacher is None:
            say(_NO_TEACHER)
    assert folder is not None
    return Run(recipe, folder, images, strategy, experiment)


def reopen(folder: Path) -> Run:
    """The run in a folder, to go on with. One that had ended makes its report again.

    # Raises
        FileNotFoundError: when the folder is no run folder.
    """
    if not (folder / RECIPE).is_file():
        raise FileNotFoundError(
            f"{folder} has no recipe.json, so it is no run folder; give one of those that a "
            "training printed (by default runs/<model>-<dataset>-seed<seed>-<time>)."
        )
    return _go_on(folder)


def _go_on(folder: Path, recipe: Recipe | None = None, experiment: Any = None) -> Run:
    recipe = recipe or Recipe.load(folder / RECIPE)
    _check_same(folder, recipe)
    # What is trained needs no cluster for its report; the other workers may have ended.
    name = "single" if _is_trained(recipe, folder) else recipe.strategy
    strategy = make_strategy(name)
    return Run(recipe, folder, load_images(recipe), strategy, experiment)


def _is_trained(recipe: Recipe, folder: Path) -> bool:
    return epochs_done(folder) >= recipe.epochs


def _check_same(folder: Path, recipe: Recipe) -> None:
    other = differences(vars(Recipe.load(folder / RECIPE)), vars(recipe))
    if other:
        raise ValueError(
            f"{folder} holds a run with another recipe ({other}); give another --run-dir, or "
            f"go on with that run: --resume {shlex.quote(str(folder))}"
        )


def _check(
    recipe: Recipe, images: data.ImageSource, strategy: tf.distribute.Strategy, experiment: Any
) -> None:
    """Finds what cannot be trained, before a folder is made for it."""
    data.steps_per_epoch(images.train_count, recipe.batch_size)
    data.Share(replicas=strategy.num_replicas_in_sync).of(recipe.batch_size)
    _settings(recipe, experiment)
    # Outside of the strategy, so that no other worker need take part.
    model = build_model(recipe, images.num_classes, images.train_count, experiment)
    if recipe.teacher is not None:
        Teacher(recipe.teacher, recipe.temperature).teach(model)
        check_classes(recipe.teacher, described(images, image_shape(recipe)))
    # So that layers without a name get the same ones when they are built to be trained.
    tf.keras.backend.reset_uids()


def load_images(recipe: Recipe) -> data.ImageSource:
    """The recipe's images: in memory for CIFAR and its like, streamed for ImageNet."""
    settings: dict[str, Any] = {
        "data_dir": recipe.data_dir,
        "train_examples": recipe.train_examples,
        "test_examples": recipe.test_examples,
        "skip_damaged": recipe.skip_damaged,
        "seed": recipe.seed,
    }
    if recipe.skip_damaged:
        say("Reading all images once, to find those that are damaged.")
    changes: dict[str, Any] = {"erasing": recipe.erasing, "augmentation": recipe.augmentation}
    if recipe.is_streamed:
        return replace(data.stream(recipe.dataset, **settings), **changes)
    settings |= {"image_size": recipe.image_size, "held_out": recipe.held_out}
    return data.MemorySource(data.load(recipe.dataset, **settings), **changes)
