"""Keras callbacks of SiMaN."""

from collections.abc import Iterator

import tensorflow as tf

from siman_larq.choices import is_number, is_whole
from siman_larq.constraints import PercentileClip
from siman_larq.filters import tell_axes

__all__ = ["ClipAnnealing", "percentile_clips"]


class ClipAnnealing(tf.keras.callbacks.Callback):
    r"""Anneals the clamp of every `siman_larq.PercentileClip` in the model, epoch by epoch.

    \\[
    p = \texttt{start} \cdot
    \left( 1 - \frac{epoch - \texttt{first}}{epochs - \texttt{first}} \right)
    \\]
    with epochs counted from 0, set when an epoch begins; 0 before the epoch `first`. Depends on
    the epoch alone, so a training that resumes with `initial_epoch` goes on where it was.

    !!! example
        ```python
        model.fit(images, labels, epochs=120, callbacks=[ClipAnnealing(start=15.0)])
        ```

    # Arguments
        start: Percentage in the first epoch, in [0, 50).
        first: The first epoch with a clamp, where it does not begin with the training.

    # Raises
        ValueError: for a start outside [0, 50) or a `first` below 0; at the beginning of training,
            for a model without a `PercentileClip`.

    # References
        - [SiMaN: Sign-to-Magnitude Network Binarization](https://arxiv.org/abs/2102.07981)
    """

    def __init__(self, start: float = 15.0, first: int = 0) -> None:
        super().__init__()
        if not is_number(start) or not 0 <= start < 50:
            raise ValueError(f"ClipAnnealing: start={start!r} is out of range; use [0, 50).")
        if not is_whole(first) or first < 0:
            raise ValueError(f"ClipAnnealing: first={first!r} is no epoch; use 0, 1, 2, ...")
        self.start: float = start
        self.first: int = first

    def on_train_begin(self, logs: dict | None = None) -> None:
        if next(percentile_clips(self.model), None) is None:
            raise ValueError(
                f"ClipAnnealing: no layer of model {self.model.name!r} has a PercentileClip to "
                "anneal; use SiMaNConv2D, or kernel_constraint=PercentileClip() in other layers."
            )
        for layer in self.model.submodules:
            tell_axes(layer)

    def on_epoch_begin(self, epoch: int, logs: dict | None = None) -> None:
        percent = self.percent_at(epoch, self.params["epochs"])
        for clip in percentile_clips(self.model):
            clip.percent = percent

    def percent_at(self, epoch: int, epochs: int) -> float:
        """The percentage in an epoch, from 0, of so many."""
        if epoch < self.first:
            return 0.0
        return self.start * (1 - (epoch - self.first) / (epochs - self.first))


def percentile_clips(model: tf.keras.Model) -> Iterator[PercentileClip]:
    """All `PercentileClip` of a model's layers and of their weights, once each."""
    # `kernel_constraint`, and `depthwise_constraint` and the like of other layers.
    found = [value for layer in model.submodules for value in vars(layer).values()]
    if model.built:
        found += [variable.constraint for variable in model.trainable_variables]
    clips = {id(value): value for value in found if isinstance(value, PercentileClip)}
    yield from clips.values()
