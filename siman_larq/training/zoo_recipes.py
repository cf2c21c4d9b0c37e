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

# Models that Larq Zoo trains in stages, each from the weights of the one before, and its last one.
_LAST_STAGES = {
    "RealToBinaryNet": "TrainR2BBNNAlternative",
    "StrongBaselineNet": "TrainR2BStrongBaselineBNN",
}


def zoo_defaults(model: str) -> dict[str, Any]:
    """Epochs and batch size with which Larq Zoo trains a model.

    # Raises
        ValueError: for models that Larq Zoo does not train.
    """
    experiment = experiment_of(model)
    return {"epochs": experiment.epochs, "batch_size": experiment.batch_size, "warmup_epochs": 0}


def zoo_optimizer(recipe: Recipe, steps_per_epoch: int, experiment: Any = None) -> Any:
    """The optimizer with which Larq Zoo trains the recipe's model.

    # Arguments
        recipe: A recipe of style `"zoo"`.
        steps_per_epoch: Steps in an epoch.
        experiment: Larq Zoo's experiment, if it has other settings than by default.

    The decay of BiRealNet, RealToBinaryNet and QuickNet ends with the recipe's last step, where
    Larq Zoo has the step count of its own training fixed. QuickNet's pair of optimizers is of
    Keras's legacy kind, which alone Larq's `CaseOptimizer` takes.
    """
    from larq_zoo.training.learning_schedules import CosineDecayWithWarmup, R2BStepSchedule

    experiment = _given_or_stock(experiment, recipe)
    total = recipe.epochs * steps_per_epoch

    def cosine(peak: float, warmup_epochs: int) -> Any:
        warmup = min(warmup_epochs, recipe.epochs - 1) * steps_per_epoch
        return CosineDecayWithWarmup(peak, warmup, total)

    if recipe.model == "BiRealNet":
        linear = tf.keras.optimizers.schedules.PolynomialDecay(experiment.learning_rate, total, 0.0)
        return tf.keras.optimizers.Adam(linear)
    if recipe.model == "RealToBinaryNet":
        rate = cosine(experiment.learning_rate, experiment.warmup_duration)
        return tf.keras.optimizers.Adam(rate)
    if recipe.model == "StrongBaselineNet":
        fraction = experiment.learning_rate_decay
        rate = R2BStepSchedule(experiment.learning_rate, steps_per_epoch, fraction)
        return tf.keras.optimizers.Adam(rate)
    if not recipe.model.startswith("QuickNet"):
        return experiment.optimizer
    return lq.optimizers.CaseOptimizer(
        (
            lq.optimizers.Bop.is_binary_variable,
            tf.keras.optimizers.legacy.Adam(cosine(_BINARY_RATE, _WARMUP_EPOCHS)),
        ),
        default_optimizer=tf.keras.optimizers.legacy.SGD(
            cosine(_REAL_RATE, _WARMUP_EPOCHS), momentum=0.9
        ),
    )


def schedule(recipe: Recipe, experiment: Any = None) -> Callable[..., float] | None:
    """The learning rate by epoch; `None` where the optimizer has a schedule of its own."""
    if recipe.style != "zoo":
        return recipe.learning_rate_at
    experiment = _given_or_stock(experiment, recipe)
    by_epoch = getattr(experiment, "learning_rate_schedule", None)
    return None if by_epoch is None else lambda epoch, *_: float(by_epoch(epoch))


def _given_or_stock(experiment: Any, recipe: Recipe) -> Any:
    # Not by its truth: that is its length, for which every field is made.
    return experiment_of(recipe.model) if experiment is None else experiment


def experiment_of(model: str) -> Any:
    """Larq Zoo's experiment that trains a model, with its default settings.

    RealToBinaryNet and StrongBaselineNet are trained in stages there, with teachers. This is the
    last stage, which trains the binary network, but from random weights and on the labels alone;
    Larq Zoo itself calls its stages an example and not what trained its published weights.

    # Raises
        ValueError: for models that Larq Zoo does not train.
    """
    from larq_zoo.training import basic_experiments, multi_stage_experiments, sota_experiments

    name = _LAST_STAGES.get(model, f"Train{model}")
    for module in (basic_experiments, sota_experiments, multi_stage_experiments):
        if hasattr(module, name):
            return getattr(module, name)()
    raise ValueError(
        f"recipe='zoo' has nothing for model={model!r}: Larq Zoo does not train it; use "
        "recipe='official'."
    )
