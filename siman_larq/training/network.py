"""The recipe's network, compiled."""

from typing import Any

import tensorflow as tf

from siman_larq import zoo
from siman_larq._scopes import quantized
from siman_larq.checks import check_no_l2
from siman_larq.models.variants import NETWORKS, SETTINGS, kernel_parts, variant
from siman_larq.quantizers import SampleSign
from siman_larq.training.distribution import synchronised
from siman_larq.training.losses import SmoothedCrossentropy
from siman_larq.training.optimizer import CoupledDecayAdam, CoupledDecaySGD
from siman_larq.training.recipe import Recipe
from siman_larq.training.zoo_recipes import zoo_optimizer

__all__ = ["build_model", "gives_softmax", "image_shape"]


def image_shape(recipe: Recipe) -> tuple[int, int, int]:
    """(height, width, channels) of the images that the network takes."""
    return (recipe.image_size, recipe.image_size, 3)


@quantized(False)
def build_model(
    recipe: Recipe,
    num_classes: int,
    train_count: int | None = None,
    experiment: Any = None,
    is_real: bool = False,
) -> tf.keras.Model:
    """The recipe's network, compiled with the recipe's optimizer; same seed, same weights.

    Under a strategy of several replicas its batch normalisations are synchronised.

    # Arguments
        recipe: What to build.
        num_classes: Number of classes.
        train_count: Number of training images, on which schedules by step depend.
        experiment: A zookeeper experiment whose `model`, and for recipes of style `"zoo"` whose
            optimizer, takes the place of the recipe's.
        is_real: Whether binary kernels have their real weights, as in the first of two steps. Its
            checkpoints fit the binary network.

    # Returns
        A compiled Keras model.

    # Raises
        ValueError: when the experiment's model has fewer outputs than there are classes.
    """
    tf.keras.utils.set_random_seed(recipe.seed)
    policy = tf.keras.mixed_precision.global_policy()
    tf.keras.mixed_precision.set_global_policy(recipe.precision)
    try:
        if experiment is None:
            model = _network(recipe, num_classes, is_real)
        else:
            model = _copy(experiment.model)
        if experiment is not None and model.output_shape[-1] < num_classes:
            raise ValueError(
                f"The network has {model.output_shape[-1]} outputs, the data set {num_classes} "
                f"classes: leave model.num_classes out, or set it to {num_classes}."
            )
        if tf.distribute.get_strategy().num_replicas_in_sync > 1:
            model = synchronised(model)
        _set_width(model, recipe)
        steps = (train_count or recipe.batch_size) // recipe.batch_size
        decay = _decay_of_kernels(recipe, is_real)
        _compile(model, recipe, steps, experiment, decay)
    finally:
        tf.keras.mixed_precision.set_global_policy(policy)
    if not decay:
        check_no_l2(model)
    return model


def _decay_of_kernels(recipe: Recipe, is_real: bool) -> float:
    """l2 on binary kernels in one of two steps, or in the only one."""
    if recipe.style == "reactnet":
        return recipe.weight_decay if is_real else 0.0
    return recipe.binary_decay if is_real or not recipe.two_steps else 0.0


def _network(recipe: Recipe, num_classes: int, is_real: bool) -> tf.keras.Model:
    if recipe.model in NETWORKS:
        settings = {name: getattr(recipe, name) for name in SETTINGS}
        return variant(
            recipe.model,
            image_shape(recipe),
            num_classes,
            is_real=is_real,
            is_float=recipe.is_float,
            **settings,
        )
    return zoo.MODELS[recipe.model](
        input_shape=image_shape(recipe),
        num_classes=num_classes,
        **kernel_parts(recipe.levels, recipe.threshold, recipe.code, recipe.clamp, is_real),
    )


def _set_width(model: tf.keras.Model, recipe: Recipe) -> None:
    if recipe.gradient_width == 1:
        return  # also a network of somebody's own may have another
    signs = [layer for layer in model.submodules if isinstance(layer, SampleSign)]
    if not signs:
        raise ValueError(
            f"gradient_width={recipe.gradient_width} is that of SampleSign, and {model.name} makes "
            "its inputs binary otherwise; leave it out."
        )
    for layer in signs:
        layer.width = recipe.gradient_width


def _copy(model: tf.keras.Model) -> tf.keras.Model:
    made = tf.keras.models.clone_model(model)
    made.set_weights(model.get_weights())
    return made


def _compile(
    model: tf.keras.Model,
    recipe: Recipe,
    steps_per_epoch: int,
    experiment: Any,
    binary_decay: float,
) -> None:
    if recipe.style == "zoo":
        optimizer = zoo_optimizer(recipe, steps_per_epoch, experiment)
    elif recipe.style == "reactnet":
        optimizer = CoupledDecayAdam(recipe.learning_rate, l2=binary_decay)
    else:
        optimizer = CoupledDecaySGD(
            recipe.learning_rate,
            recipe.momentum,
            l2=recipe.weight_decay,
            spares_binary=True,
            binary_l2=binary_decay,
            kernel_rate=recipe.kernel_rate,
            kernel_optimizer=recipe.kernel_optimizer,
            use_ema=recipe.ema > 0,
            ema_momentum=recipe.ema,
        )
    # Not by name: Keras would make its variables in the first step, and trace that step twice.
    metrics: list[Any] = [tf.keras.metrics.SparseCategoricalAccuracy(name="accuracy")]
    if recipe.is_streamed:
        metrics.append(tf.keras.metrics.SparseTopKCategoricalAccuracy(5, name="top5"))
    loss: tf.keras.losses.Loss
    if recipe.label_smoothing:
        loss = SmoothedCrossentropy(not gives_softmax(model), recipe.label_smoothing)
    else:
        loss = tf.keras.losses.SparseCategoricalCrossentropy(from_logits=not gives_softmax(model))
    model.compile(optimizer, loss, metrics=metrics, jit_compile=recipe.xla)


def gives_softmax(model: tf.keras.Model) -> bool:
    """Whether a model ends in probabilities, as those of Larq Zoo, and not in logits."""
    last = model.layers[-1]
    activation = getattr(last, "activation", None)
    return isinstance(last, tf.keras.layers.Softmax) or activation is tf.keras.activations.softmax
