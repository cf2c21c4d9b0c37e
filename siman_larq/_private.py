"""The one place that touches names which TensorFlow and Larq do not make public."""

import sys
from typing import Any

import tensorflow as tf
from larq.quantizers import _BaseQuantizer as BaseQuantizer
from tensorflow.python.framework import ops
from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2
from tensorflow.python.ops import control_flow_util

__all__ = [
    "BaseQuantizer",
    "calling_layer",
    "compiles_with_xla",
    "decays",
    "float32_policy",
    "forget_gradients",
    "is_built",
    "paddings_of_any_map",
    "quantizer_metrics",
    "with_constants",
]

# BaseQuantizer: Larq's quantizers derive from it, and it alone connects `metrics=["flip_ratio"]`
# and `larq.context.metrics_scope`; the public `larq.quantizers.Quantizer` has neither.


def calling_layer() -> tf.keras.layers.Layer | None:
    """The innermost Keras layer that is being called now.

    Larq hands a quantizer the kernel alone, and only its layer tells what a filter of it is.
    """
    package = tf.keras.layers.Layer.__module__.rpartition(".")[0]
    return sys.modules[f"{package}.base_layer_utils"].call_context().layer


def compiles_with_xla() -> bool:
    """Whether ops made now are compiled by XLA (`jit_compile=True`), as Keras' RNNs ask it.

    No public name tells, and XLA refuses a whole graph for one op it does not know.
    """
    if tf.executing_eagerly():
        return False
    return control_flow_util.GraphOrParentsInXlaContext(tf.compat.v1.get_default_graph())


def decays(optimizer: Any, variable: tf.Variable) -> bool:
    """Whether a Keras optimizer with weight decay applies it to a variable.

    What `exclude_from_weight_decay` was told is kept under private names alone.
    """
    uses = getattr(optimizer, "_use_weight_decay", None)
    return True if uses is None else bool(uses(variable))


def is_built(optimizer: Any) -> bool:
    """Whether a Keras optimizer has its variables, after which it takes no more exclusions."""
    return bool(getattr(optimizer, "_built", False))


def quantizer_metrics(quantizer: Any) -> dict[str, Any]:
    """The argument `metrics` of a Larq quantizer, which its config does not hold."""
    metrics = getattr(quantizer, "_custom_metrics", None)
    return {"metrics": list(metrics)} if metrics else {}


def float32_policy(layer: tf.keras.layers.Layer) -> list[tuple[Any, str, Any]]:
    """The attributes, with their owner, by which a layer of mixed precision computes in float32.

    Keras has no public way to change the policy of a layer that is built.
    """
    if layer.compute_dtype in (None, layer.variable_dtype):
        return []
    policy = tf.keras.mixed_precision.Policy(layer.variable_dtype)
    compute = tf.as_dtype(policy.compute_dtype)
    return [(layer, "_dtype_policy", policy), (layer, "_compute_dtype_object", compute)]


def paddings_of_any_map(layer: Any, paddings: list[list[int]]) -> list[tuple[Any, str, Any]]:
    """The attribute by which a Larq layer pads maps of unknown size, as constants.

    Larq works them out of the map's size, in the graph, where nothing tells that they depend on it
    in strides only.
    """
    return [(layer, "_get_padding_same", lambda _: paddings)]


def forget_gradients(graph: tf.Graph | None = None) -> None:
    """Takes the custom gradients of a graph, which nobody will ask for, from TensorFlow's register.

    They would stay there until the process ends, and with them the graph and its variables. Without
    a graph: those of all graphs.
    """
    registered = ops.gradient_registry._registry
    names = list(registered)
    if graph is not None:
        attributes = [operation.node_def.attr for operation in graph.get_operations()]
        names = [attribute["_gradient_op_type"].s.decode() for attribute in attributes]
    for name in names:
        if name.startswith("CustomGradient-"):
            registered.pop(name, None)


def with_constants(function: Any) -> Any:
    """A concrete function with constants in place of its variables.

    TensorFlow's and LCE's converters do the same; the public name wants a session of version 1.
    """
    return convert_variables_to_constants_v2(function, lower_control_flow=False)
