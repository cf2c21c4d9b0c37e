"""One epoch of a recipe as one function: training steps as Keras makes them, and the test."""

from collections.abc import Iterator
from typing import Any
from unittest import mock

import selection
import tensorflow as tf

import siman_larq.math as mathematics
from siman_larq import data
from siman_larq._scopes import quantized
from siman_larq.callbacks import percentile_clips
from siman_larq.conversion.binary import binary_layers
from siman_larq.data import pipeline
from siman_larq.training.network import build_model, image_shape
from siman_larq.training.recipe import Recipe

__all__ = ["Epoch"]

_TEST_BATCH = 250


class Epoch:
    """The epochs of a recipe's training, for XLA.

    # Arguments
        recipe: What is trained; `seed` and rates are those of the call.
        images: What it is trained and tested on.
        is_real: Whether it is an epoch of the first of two steps.
        counts_flips: Whether codes are compared after every step.

    # Attributes
        model: The network, compiled.
        state: All variables that an epoch changes and the next one needs.
        flips: Of its codes.
        steps: Training steps.

    # Raises
        ValueError: for recipes that are not trained by Keras' own step on images in memory.
    """

    def __init__(
        self,
        recipe: Recipe,
        images: data.ImageData,
        is_real: bool = False,
        counts_flips: bool = True,
    ) -> None:
        other = {"teacher": None, "is_streamed": False, "strategy": "single", "style": "official"}
        for name, usual in other.items():
            if getattr(recipe, name) != usual:
                raise ValueError(f"{name}={getattr(recipe, name)!r} cannot be exported.")
        self._recipe, self._images = recipe, images
        self._counts_flips, self._is_real = counts_flips, is_real
        count = len(images.train_images)
        self._parts, rest = divmod(len(images.test_images), _TEST_BATCH)
        if rest:
            raise ValueError(f"The test images must be a multiple of {_TEST_BATCH}.")
        self.steps = data.steps_per_epoch(count, recipe.batch_size)
        self.model = build_model(recipe, images.num_classes, count, is_real=is_real)
        self.model.optimizer.build(self.model.trainable_variables)
        self.flips = Flips(self.model)
        variables = [*self.model.variables, *self.model.optimizer.variables, *self.flips.variables]
        self.state = list({id(v): v for v in variables}.values())
        self.function = tf.function(self._run, jit_compile=True, autograph=False)

    @property
    def arguments(self) -> list[tf.TensorSpec]:
        """Of the function: both sets of images, seed, number, learning rate and clamp."""
        sets = (
            (self._images.train_images, tf.uint8),
            (self._images.train_labels, tf.int64),
            (self._images.test_images, tf.uint8),
            (self._images.test_labels, tf.int64),
        )
        scalars = [tf.TensorSpec([], kind) for kind in (tf.int64, tf.int64, tf.float32, tf.float32)]
        return [*(tf.TensorSpec(array.shape, kind) for array, kind in sets), *scalars]

    def traced(self) -> Any:
        """The concrete function.

        A branch, and a sort, would cost a GPU more than the rest of a step: both sides of branches
        are computed, and order statistics are selected otherwise, to equal values.
        """
        with (
            mock.patch.object(tf, "cond", _both),
            mock.patch.object(mathematics, "kth_smallest", selection.kth_smallest),
            mock.patch.object(mathematics, "kth_smallest_overall", selection.kth_smallest_overall),
        ):
            return self.function.get_concrete_function(*self.arguments)

    def _run(
        self,
        x: tf.Tensor,
        y: tf.Tensor,
        test_x: tf.Tensor,
        test_y: tf.Tensor,
        seed: tf.Tensor,
        number: tf.Tensor,
        rate: tf.Tensor,
        percent: tf.Tensor,
    ) -> tuple[tf.Tensor, tf.Tensor, list[tf.Tensor]]:
        self.model.optimizer.learning_rate.assign(rate)
        for clip in percentile_clips(self.model):
            clip.variable.assign(percent)
        self.flips.count.assign(0.0)
        for metric in self.model.metrics:
            metric.reset_state()
        self._train(x, y, seed, number)
        if not self._counts_flips and not self._is_real:
            self.flips.update()
        trained = {metric.name: metric.result() for metric in self.model.metrics}
        weights = [v.read_value() for v in self.model.trainable_variables]
        if self._recipe.ema:
            self.model.optimizer.finalize_variable_values(self.model.trainable_variables)
        loss, right = self._test(test_x, test_y)
        for variable, value in zip(self.model.trainable_variables, weights, strict=True):
            variable.assign(value)
        figures = tf.stack([trained["loss"], trained["accuracy"], loss, self.flips.count])
        return figures, right, [v.read_value() for v in self.state]

    def _train(self, x: tf.Tensor, y: tf.Tensor, seed: tf.Tensor, number: tf.Tensor) -> None:
        recipe, steps = self._recipe, self.steps
        order = pipeline.epoch_order(x.shape[0], steps * recipe.batch_size, seed, number)
        order = tf.reshape(order, [steps, recipe.batch_size])
        how = image_shape(recipe), recipe.augmentation, recipe.erasing

        def step(i: tf.Tensor) -> tf.Tensor:
            where = order[i], seed, number, tf.cast(i, tf.int64)
            self.model.train_step(pipeline.training_batch(x, y, *where, *how))
            if self._counts_flips and not self._is_real:
                self.flips.update()
            return i + 1

        tf.while_loop(lambda i: i < steps, step, [0], maximum_iterations=steps)

    def _test(self, x: tf.Tensor, y: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """The loss, and which images got their class."""

        def test(i: tf.Tensor, losses: tf.Tensor, right: tf.Tensor) -> tuple[tf.Tensor, ...]:
            begin = i * _TEST_BATCH
            part = tf.slice(x, [begin, 0, 0, 0], [_TEST_BATCH, *x.shape[1:]])
            truth = tf.slice(y, [begin], [_TEST_BATCH])
            logits = self.model(pipeline.prepared(part, image_shape(self._recipe)), training=False)
            losses += self.model.compute_loss(y=truth, y_pred=logits)
            is_right = tf.cast(tf.argmax(logits, -1) == truth, tf.int32)
            return i + 1, losses, tf.tensor_scatter_nd_update(right, [[i]], [is_right])

        parts = self._parts
        zeros = tf.zeros([parts, _TEST_BATCH], tf.int32)
        _, losses, right = tf.while_loop(
            lambda i, *_: i < parts, test, [0, 0.0, zeros], maximum_iterations=parts
        )
        return losses / parts, tf.reshape(right, [-1])


class Flips:
    """Counts how often the codes of a model's kernels change, and which never did."""

    def __init__(self, model: tf.keras.Model) -> None:
        self.layers = binary_layers(model)
        self.codes = [tf.Variable(tf.zeros(layer.kernel.shape)) for layer in self.layers]
        self.moved = [tf.Variable(tf.zeros(layer.kernel.shape)) for layer in self.layers]
        self.count = tf.Variable(0.0)
        self.weights = sum(layer.kernel.shape.num_elements() for layer in self.layers)

    @property
    def variables(self) -> list[tf.Variable]:
        return [*self.codes, *self.moved, self.count]

    def begin(self) -> None:
        """Takes the codes as they are for those before the first step."""
        for code, moved, now in zip(self.codes, self.moved, self._now(), strict=True):
            code.assign(now)
            moved.assign(tf.zeros_like(moved))

    def update(self) -> None:
        """After a step."""
        for code, moved, now in zip(self.codes, self.moved, self._now(), strict=True):
            is_flipped = tf.cast(now != code, tf.float32)
            self.count.assign_add(tf.reduce_sum(is_flipped))
            moved.assign(tf.maximum(moved, is_flipped))
            code.assign(now)

    def _now(self) -> Iterator[tf.Tensor]:
        for layer in self.layers:
            with quantized(True):
                code = tf.convert_to_tensor(layer.kernel)
            yield code


def _both(predicate: Any, true_fn: Any = None, false_fn: Any = None, **_: Any) -> Any:
    """`tf.cond` without a branch; of the side that is not taken NaN and infinity do not count."""
    return tf.nest.map_structure(
        lambda one, other: tf.where(predicate, one, other), true_fn(), false_fn()
    )
