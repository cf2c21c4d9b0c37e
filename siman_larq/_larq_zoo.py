"""What saved models of Larq Zoo hold, without its import, which takes a second."""

import importlib
import inspect
from collections.abc import Callable
from typing import Any

import larq as lq
import tensorflow as tf

__all__ = ["register", "savable_copy"]

_FUNCTIONS = {
    "blurpool_initializer": "larq_zoo.sota.quicknet",
    "clip_by_value_activation": "larq_zoo.literature.dorefanet",
    "magnitude_aware_sign_unclipped": "larq_zoo.literature.dorefanet",
    "xnor_weight_scale": "larq_zoo.literature.xnornet",
}
_BINARY = ("magnitude_aware_sign_unclipped", "xnor_weight_scale")
_STRONG_BASELINE = "literature.real_to_bin_nets.StrongBaselineNetFactory"


def register() -> None:
    """Registers a stand-in for each function with Keras, which imports Larq Zoo when called."""
    known = tf.keras.utils.get_custom_objects()
    for name in _FUNCTIONS:
        known.setdefault(name, _stand_in(name))


def savable_copy(layer: tf.keras.layers.Layer) -> tf.keras.layers.Layer:
    """A copy of a layer that a file can hold.

    Some layers of Larq Zoo are Python functions, of which Keras saves the bytes and not what they
    refer to, or hold one, which no `.h5` file gives back, and one is of a class that is not
    registered: their copies are layers of the same name that compute the same.
    """
    config = layer.get_config()
    copied = _without_python(layer, config) or type(layer).from_config(config)
    if _function(layer, "depthwise_initializer") == "blurpool_initializer":
        copied.depthwise_initializer = BlurPoolInitializer()
    return copied


@lq.utils.register_keras_custom_object
class BlurPoolInitializer(tf.keras.initializers.Initializer):
    """The binomial kernel of QuickNet's pooling, of 2, 3 or 5 rows and columns."""

    def __call__(self, shape: Any, dtype: Any = None, **kwargs: Any) -> tf.Tensor:
        return _of_larq_zoo("blurpool_initializer")(shape, dtype)

    def get_config(self) -> dict[str, Any]:
        return {}


@lq.utils.register_keras_custom_object
class BinaryDenseNet(tf.keras.Model):
    """A model of another name, which is that of Larq Zoo's class."""


@lq.utils.register_keras_custom_object
class ClipToUnit(tf.keras.layers.Layer):
    r"""DoReFaNet's last activation: \\(\min(\max(x, 0), 1)\\)."""

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        return tf.clip_by_value(inputs, 0, 1)


@lq.utils.register_keras_custom_object
class SplitChannels(tf.keras.layers.Layer):
    """MeliusNet's groups of channels, a list of so many tensors.

    # Arguments
        groups: How many; the number of channels is a multiple.
    """

    def __init__(self, groups: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.groups = groups

    def call(self, inputs: tf.Tensor) -> list[tf.Tensor]:
        return tf.split(inputs, self.groups, axis=-1)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "groups": self.groups}


@lq.utils.register_keras_custom_object
class AddToLastChannels(tf.keras.layers.Layer):
    """MeliusNet's improvement: adds the second map to the last channels of the first."""

    def call(self, inputs: list[tf.Tensor]) -> tf.Tensor:
        whole, part = inputs
        before = whole.shape[-1] - part.shape[-1]
        return whole + tf.pad(part, [[0, 0], [0, 0], [0, 0], [before, 0]])


@lq.utils.register_keras_custom_object
class LearnedRescale(tf.keras.layers.Layer):
    r"""StrongBaselineNet's scales: \\(y_{hwc} = x_{hwc} \, (a_h b_w c_c)\\), learned from 1.

    # Arguments
        regularizer: That of all scales.

    # References
        - [XNOR-Net++: Improved Binary Neural Networks](https://arxiv.org/abs/1909.13863)
    """

    def __init__(self, regularizer: Any = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.regularizer = tf.keras.regularizers.get(regularizer)

    def build(self, input_shape: Any) -> None:
        height, width, channels = input_shape[1:]
        self.scale_h = self._scale("scale_h", (height, 1, 1))
        self.scale_w = self._scale("scale_w", (1, width, 1))
        self.scale_c = self._scale("scale_c", (1, 1, channels))
        super().build(input_shape)

    def _scale(self, name: str, shape: tuple[int, int, int]) -> tf.Variable:
        return self.add_weight(name, shape, initializer="ones", regularizer=self.regularizer)

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        return inputs * (self.scale_h * self.scale_w * self.scale_c)

    def get_config(self) -> dict[str, Any]:
        regularizer = tf.keras.regularizers.serialize(self.regularizer)
        return {**super().get_config(), "regularizer": regularizer}


def _without_python(
    layer: tf.keras.layers.Layer, config: dict[str, Any]
) -> tf.keras.layers.Layer | None:
    kept = ("name", "trainable", "dtype", "regularizer")
    config = {key: value for key, value in config.items() if key in kept}
    if isinstance(layer, tf.keras.layers.Lambda):
        return _of_lambda(layer.function, config)
    is_activation = isinstance(layer, tf.keras.layers.Activation)
    if is_activation and _function(layer, "activation") == "clip_by_value_activation":
        return ClipToUnit(**config)
    is_rescale = _place(type(layer)) == f"{_STRONG_BASELINE}.LearnedRescaleLayer"
    return LearnedRescale(**config) if is_rescale else None


def _of_lambda(function: Any, config: dict[str, Any]) -> tf.keras.layers.Layer | None:
    place = _place(function).removesuffix(".<locals>.<lambda>")
    if place == f"{_STRONG_BASELINE}.block":
        return tf.keras.layers.Activation("linear", **config)
    if place == "literature.meliusnet.MeliusNetFactory.improvement_block":
        return AddToLastChannels(**config)
    if place == "core.utils.TFOpLayer":
        told = inspect.getclosurevars(function).nonlocals
        of_op = {tf.concat: tf.keras.layers.Concatenate, tf.split: SplitChannels}
        if told["kwargs"] == {"axis": -1} and told["tf_op"] in of_op:
            return of_op[told["tf_op"]](*told["args"], **config)
    return None


def _function(layer: tf.keras.layers.Layer, attribute: str) -> str | None:
    """The name of a function that a layer has, be it Larq Zoo's or its stand-in."""
    return getattr(getattr(layer, attribute, None), "__name__", None)


def _place(thing: Any) -> str:
    """Where a function or class is in Larq Zoo."""
    package, _, module = getattr(thing, "__module__", "").partition(".")
    return f"{module}.{getattr(thing, '__qualname__', '')}" if package == "larq_zoo" else ""


def _of_larq_zoo(name: str) -> Callable[..., Any]:
    function: Callable[..., Any] = getattr(importlib.import_module(_FUNCTIONS[name]), name)
    return function


def _stand_in(name: str) -> Callable[..., Any]:
    def function(*args: Any, **kwargs: Any) -> Any:
        return _of_larq_zoo(name)(*args, **kwargs)

    function.__name__ = name
    return lq.utils.set_precision(1)(function) if name in _BINARY else function
