"""The recipes that come with the package, by data set."""

import os
from dataclasses import fields, replace
from typing import Any

from siman_larq.choices import FOLDER, RECIPES, ZOO_MODELS, check_choice
from siman_larq.training.applications import find_weights
from siman_larq.training.recipe import Recipe
from siman_larq.training.zoo_recipes import zoo_defaults

__all__ = ["imagenet_recipe_for", "recipe_for"]

# Short trainings for the data that are small or offline; CIFAR takes the official recipe.
_SCALED: dict[str, dict[str, Any]] = {
    "fashion_mnist": {"epochs": 40, "batch_size": 128},
    "fashion_mnist_mini": {"epochs": 10, "batch_size": 64, "warmup_epochs": 0},
}
_SHORT: dict[str, Any] = {
    "epochs": 2,
    "batch_size": 32,
    "warmup_epochs": 0,
    "train_examples": 256,
}
# What studies/recipe.toml found; a test holds it against the results.
_BEST: dict[str, Any] = {"augmentation": "none"}
# The official recipe for ImageNet.
_IMAGENET: dict[str, Any] = {
    "model": "resnet18_imagenet",
    "dataset": "imagenet2012",
    "epochs": 150,
    "batch_size": 512,
    "weight_decay": 1e-4,
    "warmup_epochs": 0,
    "image_size": 224,
    "is_streamed": True,
}
# ReActNet's for ResNet-18, with AdamBNN's decay: two times 128 epochs. RSign is a shift and a sign.
_REACTNET: dict[str, Any] = {
    "style": "reactnet",
    "epochs": 256,
    "learning_rate": 2.5e-3,
    "weight_decay": 5e-6,
    "two_steps": True,
}
_REACTNET_LAYERS = {"rprelu": True, "channel_shift": True}
# Larq Zoo's optimizers have their own.
_OF_ZOO = ("learning_rate", "warmup_epochs", "weight_decay")
# Data sets of TFDS with these names have ImageNet's 1,000 classes in the order of Keras's weights.
_TAUGHT = "imagenet2012"


def recipe_for(
    dataset: str, smoke: bool = False, recipe: str = "official", **settings: Any
) -> Recipe:
    """The default recipe of a data set, with the settings that are not `None` put in.

    # Arguments
        dataset: A name that `siman_larq.data.load` knows.
        smoke: Whether to shorten everything to a check of a minute.
        recipe: `"official"`, or `"best"`: the settings that
            [a study](../studies.md) found to gain most at equal budget, put in before yours.
        settings: Fields of `Recipe`.

    # Returns
        A `Recipe`.

    # Raises
        ValueError: naming what is unknown or out of range.
    """
    check_choice("recipe", recipe, RECIPES)
    given = _given(settings)
    defaults = _SCALED.get(dataset, {}) | (_SHORT | {"test_examples": 100} if smoke else {})
    if dataset.startswith(FOLDER):
        dataset, defaults = _absolute(dataset), _scaled_to_folder(smoke)
    defaults |= _BEST if recipe == "best" else {}
    if "epochs" in given and "warmup_epochs" not in given:
        # A short training cannot spend the official five epochs on warming up.
        usual = (Recipe.warmup_epochs * given["epochs"]) // 40
        defaults["warmup_epochs"] = min(defaults.get("warmup_epochs", Recipe.warmup_epochs), usual)
    return replace(Recipe(), dataset=dataset, **(defaults | given))


def imagenet_recipe_for(smoke: bool = False, **settings: Any) -> Recipe:
    """The official ImageNet recipe, or another, with the settings that are not `None` put in.

    # Arguments
        smoke: Whether to shorten everything to a check of some minutes.
        settings: Fields of `Recipe`; `style="zoo"` takes epochs and batch size of Larq Zoo too,
            for RealToBinaryNet and StrongBaselineNet those of the last stage. `style="reactnet"`
            takes all of ReActNet's recipe, with the decay of AdamBNN: two steps, the activations of
            ReActNet in the package's own networks, and, for ImageNet, a ResNet of Keras
            Applications as the teacher if its weights are in Keras's cache.

    # Returns
        A `Recipe`.

    # Raises
        ValueError: naming what is unknown, out of range, or of another optimizer.

    # References
        - [ReActNet: Towards Precise Binary Neural Network with Generalized Activation
          Functions](https://arxiv.org/abs/2003.03488)
        - [How Do Adam and Training Strategies Help BNNs
          Optimization?](https://arxiv.org/abs/2106.11309)
    """
    given = _given(settings)
    defaults = dict(_IMAGENET)
    if given.get("style") == "zoo":
        if name := next((name for name in _OF_ZOO if name in given), None):
            raise ValueError(
                f"{name}={given[name]} is for the optimizers of this package, and style='zoo' "
                "takes Larq Zoo's; leave one of the two out."
            )
        defaults |= zoo_defaults(given.get("model", defaults["model"]))
    if given.get("style") == "reactnet":
        defaults |= _REACTNET
        defaults |= {} if given.get("model") in ZOO_MODELS else _REACTNET_LAYERS
        # Smoothed labels would exclude it.
        if given.get("dataset", _TAUGHT).startswith(_TAUGHT) and not given.get("label_smoothing"):
            defaults["teacher"] = find_weights()
    if smoke:
        defaults |= _SHORT | {"train_examples": 64, "test_examples": 32, "batch_size": 16}
    if given.get("dataset", "").startswith(FOLDER):
        given["dataset"] = _absolute(given["dataset"])
        defaults |= {"train_examples": None, "test_examples": None} | _scaled_to_folder(smoke)
    return Recipe(**(defaults | given))


def _absolute(dataset: str) -> str:
    """The same folder of pictures, wherever the run is resumed."""
    path = dataset.removeprefix(FOLDER)
    return FOLDER + os.path.abspath(os.path.expanduser(path)) if path else dataset


def _scaled_to_folder(smoke: bool) -> dict[str, Any]:
    """Whatever its size: what is in the folder is trained on."""
    return {"epochs": 2 if smoke else 40, "batch_size": 16 if smoke else 32, "warmup_epochs": 0}


def _given(settings: dict[str, Any]) -> dict[str, Any]:
    for name in ("teacher", "data_dir"):
        # The same wherever the run is resumed; TFDS also reads from places with a protocol.
        if settings.get(name) is not None and "://" not in str(settings[name]):
            settings[name] = os.path.abspath(os.path.expanduser(settings[name]))
    known = {field.name for field in fields(Recipe)}
    if unknown := set(settings) - known:
        raise TypeError(f"{sorted(unknown)} are no settings of a recipe; it has {sorted(known)}.")
    return {name: value for name, value in settings.items() if value is not None}
