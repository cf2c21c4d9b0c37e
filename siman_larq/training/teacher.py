"""Distillation: a network that is trained on what another one answers."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import tensorflow as tf

from siman_larq.training.applications import check_resnet, resnet
from siman_larq.training.network import gives_softmax

__all__ = ["Teacher"]

_TINY = 1e-7


class Teacher:
    r"""A trained network whose answers take the place of the labels.

    With the logits s of the network and t of its teacher, and the temperature T, the loss is
    \\[
    T^2 \cdot H\left( \mathrm{softmax}(t / T), \mathrm{softmax}(s / T) \right)
    \\]
    where H is the cross-entropy, mean over the images; the factor keeps gradients of one size.

    # Arguments
        source: The run folder of the teacher, with its `model.keras`, or a file of weights of
            ResNet50, ResNet101 or ResNet152 of Keras Applications, which must know the classes of
            the model that is taught, in their order.
        temperature: \\(T\\).

    # Raises
        ValueError: when neither is there.

    # References
        - [Distilling the Knowledge in a Neural Network](https://arxiv.org/abs/1503.02531)
    """

    def __init__(self, source: str, temperature: float = 1.0) -> None:
        self._source, self._temperature = source, temperature
        self._model: Any = None
        if Path(source).is_file():
            check_resnet(Path(source))
            return
        path = Path(source) / "model.keras"
        if not path.is_file():
            raise ValueError(
                f"teacher={source!r} holds no model.keras; give the folder of a run that has "
                "ended, or a file of weights of a ResNet of Keras Applications."
            )
        self._model = tf.keras.models.load_model(path, compile=False)

    def teach(self, model: tf.keras.Model) -> None:
        """Has a compiled model trained on this network's answers.

        The figures of `fit`, its `loss` too, stay those of the model's own loss on the labels.

        # Raises
            ValueError: when the two networks take other images or know other classes.
        """
        if self._model is None:
            shape, classes = model.input_shape[1:], model.output_shape[-1]
            self._model = resnet(Path(self._source), shape, classes)
        for name in ("input_shape", "output_shape"):
            theirs, ours = getattr(self._model, name), getattr(model, name)
            if theirs != ours:
                raise ValueError(
                    f"teacher={self._source!r} has {name}={theirs}, and the network to train has "
                    f"{ours}; give a teacher of the same data set and image size."
                )
        on_labels = model.compute_loss

        def compute_loss(x: Any = None, y: Any = None, y_pred: Any = None, *rest: Any) -> tf.Tensor:
            on_labels(x, y, y_pred, *rest)
            loss = self._loss(x, _logits(model)(y_pred))
            # Gradients of replicas are summed.
            replicas = tf.distribute.get_strategy().num_replicas_in_sync
            return tf.add_n([loss, *model.losses]) / replicas

        model.compute_loss = compute_loss

    def _loss(self, images: tf.Tensor, logits: tf.Tensor) -> tf.Tensor:
        answers = _logits(self._model)(self._model(images, training=False))
        targets = tf.nn.softmax(answers / self._temperature)
        losses = tf.nn.softmax_cross_entropy_with_logits(targets, logits / self._temperature)
        return self._temperature**2 * tf.reduce_mean(losses)


def _logits(model: tf.keras.Model) -> Callable[[tf.Tensor], tf.Tensor]:
    """From a model's outputs its logits, in float32."""

    def logits(outputs: tf.Tensor) -> tf.Tensor:
        outputs = tf.cast(outputs, tf.float32)
        return tf.math.log(tf.maximum(outputs, _TINY)) if gives_softmax(model) else outputs

    return logits
