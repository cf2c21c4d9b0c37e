"""Schedules by epoch, and the optimizers with which Larq Zoo trains its own models."""

from collections.abc import Callable
from typing import Any

import larq as lq
import tensorflow as tf

from siman_larq.training.recipe import Recipe

__all__ = ["experiment_of", "schedule", "zoo_defaults", "zoo_optimizer"]

# QuickNet's, as in larq_zoo.training, where they are no settings.
_WARMUP_EPOCHS = 5
_BINARY_RATE, _REAL_RATE = 1e-2, 0.1


def zoo_defaults(model: str) -> dict[str, Any]:
    """Epochs and batch size with which Larq Zoo trains a model.

    # Raises
        ValueError: for models that Larq Zoo trains in several stages, or does not have.
    """
    experiment = experiment_of(model)
    return {"epochs": experiment.epochs, "batch_size": experiment.batch_size, "warmup_epochs": 0}


def zoo_optimizer(recipe: Recipe, steps_per_epoch: int, experiment: Any = None) -> Any:
    """The optimizer with which Larq Zoo trains the recipe's model.

    # Arguments
        recipe: A recipe of style `"zoo"`.
        steps_per_epoch: Steps in an epoch.
        experiment: Larq Zoo's experiment, if it has other settings than by default.

    BiRealNet's and QuickNet's decay ends with the recipe's last step, where Larq Zoo has the step
    count of its own training fixed. QuickNet's pair of optimizers is of Keras's legacy kind,
    which alone Larq's `CaseOptimizer` takes.
    """
    experiment = experiment or experiment_of(recipe.model)
    total = recipe.epochs * steps_per_epoch
    if recipe.model == "BiRealNet":
        rate = experiment.learning_rate
        return tf.keras.optimizers.Adam(
            tf.keras.optimizers.schedules.PolynomialDecay(rate, total, 0.0)
        )
    if not recipe.model.startswith("QuickNet"):
        return experiment.optimizer
    from larq_zoo.training.learning_schedules import CosineDecayWithWarmup

    def cosine(peak: float) -> Any:
        warmup = min(_WARMUP_EPOCHS, recipe.epochs - 1) * steps_per_epoch
        return CosineDecayWithWarmup(peak, warmup, total)

    return lq.optimizers.CaseOptimizer(
        (
            lq.optimizers.Bop.is_binary_variable,
            tf.keras.optimizers.legacy.Adam(cosine(_BINARY_RATE)),
        ),
        default_optimizer=tf.keras.optimizers.legacy.SGD(cosine(_REAL_RATE), momentum=0.9),
    )


def schedule(recipe: Recipe, experiment: Any = None) -> Callable[..., float] | None:
    """The learning rate by epoch; `None` where the optimizer has a schedule of its own."""
    if recipe.style != "zoo":
        return recipe.learning_rate_at
    experiment = experiment or experiment_of(recipe.model)
    by_epoch = getattr(experiment, "learning_rate_schedule", None)
    return None if by_epoch is None else lambda epoch, *_: float(by_epoch(epoch))


def experiment_of(model: str) -> Any:
    """Larq Zoo's experiment that trains a model, with its default settings.

    # Raises
        ValueError: for models that Larq Zoo trains in several stages, or does not have.
    """
    from larq_zoo.training import basic_experiments, sota_experiments

    for module in (basic_experiments, sota_experiments):
        if hasattr(module, f"Train{model}"):
            return getattr(module, f"Train{model}")()
    raise ValueError(
        f"recipe='zoo' has nothing for model={model!r}: Larq Zoo trains it in several stages, "
        "or does not have it; use recipe='official'."
    )
