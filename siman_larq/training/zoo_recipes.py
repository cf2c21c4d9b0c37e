"""Schedules by epoch, and the optimizers with which Larq Zoo trains its own models."""

from collections.abc import Callable
from typing import Any

import larq as lq
import tensorflow as tf

from siman_larq.training.recipe import Recipe

__all__ = ["schedule", "zoo_defaults", "zoo_optimizer"]

# QuickNet's, as in larq_zoo.training, where they are no settings.
_WARMUP_EPOCHS = 5
_BINARY_RATE, _REAL_RATE = 1e-2, 0.1


def zoo_defaults(model: str) -> dict[str, Any]:
    """Epochs and batch size with which Larq Zoo trains a model.

    # Raises
        ValueError: for models that Larq Zoo trains in several stages, or does not have.
    """
    experiment = _experiment(model)
    return {"epochs": experiment.epochs, "batch_size": experiment.batch_size, "warmup_epochs": 0}


def zoo_optimizer(recipe: Recipe, steps_per_epoch: int) -> Any:
    """The optimizer with which Larq Zoo trains the recipe's model.

    BiRealNet's and QuickNet's decay ends with the recipe's last step, where Larq Zoo has the step
    count of its own training fixed. QuickNet's pair of optimizers is of Keras's legacy kind,
    which alone Larq's `CaseOptimizer` takes.
    """
    total = recipe.epochs * steps_per_epoch
    if recipe.model == "BiRealNet":
        rate = _experiment(recipe.model).learning_rate
        return tf.keras.optimizers.Adam(
            tf.keras.optimizers.schedules.PolynomialDecay(rate, total, 0.0)
        )
    if not recipe.model.startswith("QuickNet"):
        return _experiment(recipe.model).optimizer
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


def schedule(recipe: Recipe) -> Callable[..., float] | None:
    """The learning rate by epoch; `None` where the optimizer has a schedule of its own."""
    if recipe.style != "zoo":
        return recipe.learning_rate_at
    by_epoch = getattr(_experiment(recipe.model), "learning_rate_schedule", None)
    return None if by_epoch is None else lambda epoch, *_: float(by_epoch(epoch))


def _experiment(model: str) -> Any:
    from larq_zoo.training import basic_experiments, sota_experiments

    for module in (basic_experiments, sota_experiments):
        if hasattr(module, f"Train{model}"):
            return getattr(module, f"Train{model}")()
    raise ValueError(
        f"recipe='zoo' has nothing for model={model!r}: Larq Zoo trains it in several stages, "
        "or does not have it; use recipe='official'."
    )
