"""Distillation: a network that is trained on what another one answers."""

import hashlib
import json
import reprlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import tensorflow as tf

from siman_larq.files import write_atomically
from siman_larq.training.applications import check_resnet, resnet
from siman_larq.training.folder import INPUT
from siman_larq.training.network import gives_softmax

__all__ = ["Teacher", "check_classes"]

_TINY = 1e-7


def check_classes(source: str, settings: Mapping[str, Any]) -> None:
    """Refuses a run as the teacher of images that it does not know.

    Of a file of weights nothing tells what its classes are called.

    # Arguments
        source: The teacher, as for `Teacher`.
        settings: What `input.json` will hold of the run that is taught.

    # Raises
        ValueError: when the teacher's classes, or how its images are prepared, are others.
    """
    if Path(source).is_file():
        return
    try:
        theirs = dict(json.loads((Path(source) / INPUT).read_text()))
    except (OSError, ValueError, TypeError) as error:
        raise ValueError(
            f"teacher={source!r} has no input.json that says what its classes are ({error}); give "
            "the folder of a run that has ended."
        ) from error
    for name, ours in settings.items():
        other = theirs.get(name)
        if other == ours:
            continue
        if name == "class_names" and isinstance(other, list) and len(other) == len(ours):
            n = next(
                n for n, pair in enumerate(zip(other, ours, strict=True)) if pair[0] != pair[1]
            )
            name, other, ours = f"{name}[{n}]", other[n], ours[n]
        raise ValueError(
            f"teacher={source!r} has {name}={reprlib.repr(other)}, and the data set of this run "
            f"{reprlib.repr(ours)}; give a teacher of the same data set."
        )


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

    def keep(self, folder: Path, is_chief: bool) -> None:
        """Keeps in a run folder who teaches the run, after `teach`, and refuses another one later.

        # Raises
            ValueError: when the run began with a teacher of other weights, or what tells so is
                damaged.
        """
        digest = hashlib.sha256()
        for array in self._model.get_weights():
            digest.update(array.tobytes())
        path, found = folder / "teacher.json", digest.hexdigest()
        if not path.is_file():
            if is_chief:
                write_atomically(path, json.dumps({"sha256": found}) + "\n")
            return
        try:
            kept = json.loads(path.read_text())["sha256"]
        except (ValueError, KeyError, TypeError) as error:
            raise ValueError(
                f"{path}, which says who taught the run, is damaged ({error!r}): delete it to go "
                f"on with the teacher that {self._source} holds now."
            ) from None
        if kept != found:
            raise ValueError(
                f"The run in {folder} began with another teacher than {self._source} holds now: "
                f"put its weights back as they were, or start a new run. ({path} tells them apart.)"
            )

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
