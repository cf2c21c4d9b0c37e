"""What a trained network answers to the test images."""

from dataclasses import dataclass

import numpy as np
import tensorflow as tf
from tqdm import tqdm

from siman_larq import data

__all__ = ["Answers", "answers"]


@dataclass(frozen=True)
class Answers:
    """Labels of test images, and what a network made of them.

    # Attributes
        names: One name per class.
        labels: The true classes, shape `(images,)`.
        predicted: The classes with the largest output, shape `(images,)`.
        top5: Share of images whose class is among the five largest outputs.
    """

    names: tuple[str, ...]
    labels: np.ndarray
    predicted: np.ndarray
    top5: float

    @property
    def accuracy(self) -> float:
        """Share of images that got their class."""
        return float(np.mean(self.labels == self.predicted))

    def confusion(self) -> np.ndarray:
        """Numbers of images, true classes by predicted ones."""
        matrix = np.zeros([len(self.names)] * 2, int)
        np.add.at(matrix, (self.labels, self.predicted), 1)
        return matrix

    def most_confused(self, count: int) -> list[tuple[int, int, int]]:
        """The pairs of classes with most mistakes: true class, predicted one, and images."""
        mistakes = self.confusion()
        np.fill_diagonal(mistakes, 0)
        order = np.argsort(-mistakes, axis=None, kind="stable")[:count]
        rows, columns = np.unravel_index(order, mistakes.shape)
        found = zip(rows.tolist(), columns.tolist(), mistakes[rows, columns].tolist(), strict=True)
        return [pair for pair in found if pair[2]]


def answers(model: tf.keras.Model, images: data.ImageSource, batch_size: int) -> Answers:
    """Asks a network about all test images.

    # Arguments
        model: A network with one output per class.
        images: The images.
        batch_size: Images per step.

    # Returns
        Its `Answers`.
    """
    batches = images.eval_batches(batch_size=batch_size, image_shape=model.input_shape[1:])
    labels, predicted, among_five = [], [], []
    steps = -(-images.test_count // batch_size)
    # A bar for terminals alone.
    for inputs, truth in tqdm(batches, "testing", steps, leave=False, disable=None):
        outputs = np.asarray(model.predict_on_batch(inputs), np.float32)
        labels.append(truth.numpy())
        predicted.append(np.argmax(outputs, axis=-1))
        among_five.append(tf.math.in_top_k(truth, outputs, 5).numpy())
    return Answers(
        images.class_names,
        np.concatenate(labels),
        np.concatenate(predicted),
        float(np.mean(np.concatenate(among_five))),
    )
