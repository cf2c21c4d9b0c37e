"""SGD and Adam as PyTorch has them, whose weight decay is part of the gradient."""

from collections.abc import Iterable
from typing import Any

import larq as lq
import tensorflow as tf

from siman_larq.choices import KERNEL_OPTIMIZERS, check_choice
from siman_larq.layers import SiMaNConv2D

__all__ = ["CoupledDecayAdam", "CoupledDecaySGD", "binary_variables"]


# Of Adam, as Keras has them.
_BETA_1, _BETA_2, _EPSILON = 0.9, 0.999, 1e-7


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
        spares_binary: Whether binary kernels, and the alpha of `SiMaNConv2D`, do without `l2` in
            whatever model.
        binary_l2: \\(\lambda\\) of the binary kernels that do without `l2`.
        kernel_rate: Factor of the learning rate for binary kernels.
        kernel_optimizer: `"sgd"`, or `"adam"`: binary kernels are moved by Adam, with their decay
            in the gradient too. It moves every weight by about the learning rate, so a
            `kernel_rate` of 0.01 goes with one of 0.1.
        excluded: Names of other variables without decay, as a config holds them.
        kwargs: As for `tf.keras.optimizers.SGD`. With `use_ema=True` no averages take the place of
            binary kernels: an average of latent weights is no code's average.

    # Raises
        ValueError: for an unknown `kernel_optimizer`.

    # References
        - [How Do Adam and Training Strategies Help BNNs
          Optimization?](https://arxiv.org/abs/2106.11309)
    """

    def __init__(
        self,
        learning_rate: Any = 0.1,
        momentum: float = 0.9,
        l2: float = 0.0,
        spares_binary: bool = False,
        binary_l2: float = 0.0,
        kernel_rate: float = 1.0,
        kernel_optimizer: str = "sgd",
        excluded: Iterable[str] = (),
        **kwargs: Any,
    ) -> None:
        kwargs.setdefault("name", "CoupledDecaySGD")
        super().__init__(learning_rate=learning_rate, momentum=momentum, **kwargs)
        self.l2, self.spares_binary = l2, spares_binary
        check_choice("CoupledDecaySGD: kernel_optimizer", kernel_optimizer, KERNEL_OPTIMIZERS)
        self.binary_l2, self.kernel_rate = binary_l2, kernel_rate
        self.kernel_optimizer = kernel_optimizer
        # Sets, since Keras would put lists among the checkpoint's objects.
        self._given: set[Any] = set()
        self._named = frozenset(excluded)

    def exclude(self, variables: Iterable[tf.Variable]) -> None:
        """Takes variables of the model out of the decay, also after saving and loading.

        Loaded variables may have other names, but binary ones are known by their kind: if any of
        these was excluded, all are after loading.
        """
        self._given.update(variable.ref() for variable in variables)

    def excluded(self, variables: Iterable[tf.Variable]) -> list[tf.Variable]:
        """Those of a model's variables that have no decay.

        # Raises
            ValueError: when a name from a config does not mean one variable.
        """
        variables = list(variables)
        found = [
            variable
            for variable in variables
            if variable.ref() in self._given or (self.spares_binary and _is_binary(variable))
        ]
        for name in self._named - {_name(reference.deref()) for reference in self._given}:
            named = [variable for variable in variables if _name(variable) == name]
            if len(named) != 1:
                raise ValueError(
                    f"CoupledDecaySGD: {name!r} had no decay when the optimizer was saved, and "
                    f"{len(named)} of the weights to train are called so; give each layer a name "
                    "of its own, or compile with a new optimizer."
                )
            found += named
        return found

    def apply_gradients(self, grads_and_vars: Any, *args: Any, **kwargs: Any) -> Any:
        grads_and_vars = list(grads_and_vars)
        spared = {v.ref() for v in self.excluded(v for _, v in grads_and_vars)}

        def changed(gradient: tf.Tensor | None, variable: tf.Variable) -> tf.Tensor | None:
            if gradient is None:
                return None
            l2 = self.l2
            if variable.ref() in spared:
                l2 = self.binary_l2 if _is_kernel(variable) else 0
            gradient = _decayed(gradient, variable, l2)
            if self.kernel_rate != 1 and self.kernel_optimizer == "sgd" and _is_kernel(variable):
                gradient *= self.kernel_rate
            return gradient

        changes = [(changed(gradient, variable), variable) for gradient, variable in grads_and_vars]
        return super().apply_gradients(changes, *args, **kwargs)

    def build(self, var_list: Iterable[tf.Variable]) -> None:
        variables = list(var_list)
        super().build(variables)
        if self.kernel_optimizer == "sgd" or hasattr(self, "squares"):
            return
        # By key: the variables of several replicas are known by it too.
        self._kernel_keys = frozenset(self._var_key(v) for v in variables if _is_kernel(v))
        self.squares = [
            self.add_variable_from_reference(variable, "squares") for variable in variables
        ]

    def update_step(self, gradient: tf.Tensor, variable: tf.Variable) -> None:
        key = self._var_key(variable)
        if self.kernel_optimizer == "sgd" or key not in self._kernel_keys:
            super().update_step(gradient, variable)
            return
        mean, square = (found[self._index_dict[key]] for found in (self.momentums, self.squares))
        step = tf.cast(self.iterations + 1, variable.dtype)
        rate = tf.cast(self.learning_rate, variable.dtype) * self.kernel_rate
        rate *= tf.sqrt(1 - _BETA_2**step) / (1 - _BETA_1**step)
        mean.assign_add((gradient - mean) * (1 - _BETA_1))
        square.assign_add((tf.square(gradient) - square) * (1 - _BETA_2))
        variable.assign_sub(rate * mean / (tf.sqrt(square) + _EPSILON))

    def finalize_variable_values(self, var_list: Iterable[tf.Variable]) -> None:
        """Puts moving averages, if there are any, in the place of all but binary kernels."""
        super().finalize_variable_values([v for v in var_list if not _is_kernel(v)])

    def get_config(self) -> dict[str, Any]:
        given = [reference.deref() for reference in self._given]
        names = {_name(variable) for variable in given if not _is_binary(variable)}
        return {
            **super().get_config(),
            "l2": self.l2,
            "spares_binary": self.spares_binary or any(map(_is_binary, given)),
            "binary_l2": self.binary_l2,
            "kernel_rate": self.kernel_rate,
            "kernel_optimizer": self.kernel_optimizer,
            "excluded": sorted(names | self._named),
        }


@lq.utils.register_keras_custom_object
class CoupledDecayAdam(tf.keras.optimizers.Adam):
    r"""Adam with coupled weight decay on kernels of convolutions, binary or not, and on no more.

    The gradient of a kernel is \\(g + \lambda w\\), as of PyTorch's Adam with the settings of
    ReActNet and AdamBNN; Keras' own `weight_decay` is decoupled.

    # Arguments
        learning_rate: As for `tf.keras.optimizers.Adam`.
        l2: \\(\lambda\\).
        kwargs: As for `tf.keras.optimizers.Adam`; `epsilon` is PyTorch's.

    # References
        - [How Do Adam and Training Strategies Help BNNs
          Optimization?](https://arxiv.org/abs/2106.11309)
    """

    def __init__(self, learning_rate: Any = 1e-3, l2: float = 0.0, **kwargs: Any) -> None:
        kwargs = {"name": "CoupledDecayAdam", "epsilon": 1e-8, **kwargs}
        super().__init__(learning_rate=learning_rate, **kwargs)
        self.l2 = l2

    def excluded(self, variables: Iterable[tf.Variable]) -> list[tf.Variable]:
        """Those of a model's variables that have no decay."""
        return [variable for variable in variables if variable.shape.rank != 4]

    def apply_gradients(self, grads_and_vars: Any, *args: Any, **kwargs: Any) -> Any:
        grads_and_vars = list(grads_and_vars)
        spared = {v.ref() for v in self.excluded(v for _, v in grads_and_vars)}
        changes = [
            (g if g is None or v.ref() in spared else _decayed(g, v, self.l2), v)
            for g, v in grads_and_vars
        ]
        return super().apply_gradients(changes, *args, **kwargs)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "l2": self.l2}


def _decayed(gradient: tf.Tensor, variable: tf.Variable, l2: float) -> tf.Tensor:
    # Every replica adds the decay, and then gradients are summed.
    replicas = tf.distribute.get_strategy().num_replicas_in_sync
    return gradient + l2 / replicas * tf.convert_to_tensor(variable) if l2 else gradient


def _name(variable: tf.Variable) -> str:
    return variable.name.split(":")[0]


def _is_kernel(variable: tf.Variable) -> bool:
    return getattr(variable, "precision", 32) == 1


def _is_binary(variable: tf.Variable) -> bool:
    return _is_kernel(variable) or getattr(variable, "scales_binary", False)


def binary_variables(model: tf.keras.Model) -> list[tf.Variable]:
    """The latent binary kernels of a model and the alpha that scale them, by layer."""
    variables = []
    for layer in model.submodules:
        if isinstance(layer, tf.keras.layers.Layer):
            variables += [w for w in layer.trainable_weights if _is_kernel(w)]
        if isinstance(layer, SiMaNConv2D):
            variables.append(layer.alpha)
    return variables
