"""Training, resuming and reporting."""

from siman_larq.training.distribution import make_strategy
from siman_larq.training.network import build_model
from siman_larq.training.optimizer import CoupledDecaySGD, binary_variables
from siman_larq.training.recipe import Recipe, imagenet_recipe_for, recipe_for
from siman_larq.training.run import Run, create, reopen, train

__all__ = [
    "CoupledDecaySGD",
    "Recipe",
    "Run",
    "binary_variables",
    "build_model",
    "create",
    "imagenet_recipe_for",
    "make_strategy",
    "recipe_for",
    "reopen",
    "train",
]
