"""SGD as the official code uses it: coupled weight decay, none of it on binary kernels."""

from collections.abc import Iterable
from typing import Any

import larq as lq
import tensorflow as tf

from siman_larq.layers import SiMaNConv2D

__all__ = ["CoupledDecaySGD", "binary_variables"]


@lq.utils.register_keras_custom_object
class CoupledDecaySGD(tf.keras.optimizers.SGD):
    r"""SGD with momentum whose weight decay is part of the gradient, as in PyTorch.

    \\[
    g \leftarrow g + \lambda w, \quad v \leftarrow \mu v - \eta g, \quad w \leftarrow w + v
    \\]
    Keras' own `weight_decay` is decoupled: the momentum does not carry it, so the same number
    decays \\(1 / (1 - \mu)\\) times less. A regularizer would carry it, but is part of the loss.

    # Arguments
        learning_rate: \\(\eta\\).
        momentum: \\(\mu\\).
        l2: \\(\lambda\\).
        kwargs: As for `tf.keras.optimizers.SGD`.
    """

    def __init__(
        self, learning_rate: Any = 0.1, momentum: float = 0.9, l2: float = 0.0, **kwargs: Any
    ) -> None:
        kwargs.setdefault("name", "CoupledDecaySGD")
        super().__init__(learning_rate=learning_rate, momentum=momentum, **kwargs)
        self.l2 = l2
        self._excluded: set[int] = set()

    def exclude(self, variables: Iterable[tf.Variable]) -> None:
        """Takes variables of the model out of the decay."""
        self._excluded.update(id(variable) for variable in variables)

    def apply_gradients(self, grads_and_vars: Any, *args: Any, **kwargs: Any) -> Any:
        # Every replica adds the decay, and then gradients are summed.
        l2 = self.l2 / tf.distribute.get_strategy().num_replicas_in_sync
        decayed = [
            (gradient, variable)
            if gradient is None or id(variable) in self._excluded
            else (gradient + l2 * tf.convert_to_tensor(variable), variable)
            for gradient, variable in grads_and_vars
        ]
        return super().apply_gradients(decayed, *args, **kwargs)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "l2": self.l2}


def binary_variables(model: tf.keras.Model) -> list[tf.Variable]:
    """The latent binary kernels of a model and the alpha that scale them, by layer."""
    variables = []
    for layer in model.submodules:
        if isinstance(layer, tf.keras.layers.Layer):
            variables += [w for w in layer.trainable_weights if getattr(w, "precision", 32) == 1]
        if isinstance(layer, SiMaNConv2D):
            variables.append(layer.alpha)
    return variables
