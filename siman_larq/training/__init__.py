"""Training, resuming and reporting."""

from siman_larq.training.optimizer import CoupledDecaySGD, binary_variables
from siman_larq.training.recipe import Recipe, recipe_for
from siman_larq.training.run import Run, build_model, create, reopen, train

__all__ = [
    "CoupledDecaySGD",
    "Recipe",
    "Run",
    "binary_variables",
    "build_model",
    "create",
    "recipe_for",
    "reopen",
    "train",
]
