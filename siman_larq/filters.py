"""What a filter is: the weights from which one channel of the output comes."""

from typing import Any

import tensorflow as tf

__all__ = [
    "Axes",
    "axes_by_name",
    "checked_axes",
    "checked_kernel",
    "filter_axes",
    "from_columns",
    "quantized_kernel",
    "tell_axes",
    "to_columns",
]

Axes = tuple[int, ...]

_KERNELS = ("kernel", "depthwise", "pointwise")
_TRANSPOSED = (
    tf.keras.layers.Conv1DTranspose,
    tf.keras.layers.Conv2DTranspose,
    tf.keras.layers.Conv3DTranspose,
)
_LOCAL = (tf.keras.layers.LocallyConnected1D, tf.keras.layers.LocallyConnected2D)
# Layers of one's own may lay their kernels out otherwise, and say so.
_KNOWN = (
    tf.keras.layers.Dense,
    tf.keras.layers.Conv1D,
    tf.keras.layers.Conv2D,
    tf.keras.layers.Conv3D,
    tf.keras.layers.DepthwiseConv1D,
    tf.keras.layers.DepthwiseConv2D,
    tf.keras.layers.SeparableConv1D,
    tf.keras.layers.SeparableConv2D,
    *_TRANSPOSED,
    *_LOCAL,
)


def filter_axes(layer: tf.keras.layers.Layer, kernel: str = "kernel") -> Axes:
    """The axes of a layer's kernel that tell its filters apart.

    | layer | kernel | axes |
    |---|---|---|
    | convolutions, also grouped; dense; pointwise kernels | `(..., inputs, filters)` | `(-1,)` |
    | depthwise kernels | `(..., channels, multiplier)` | `(-2, -1)` |
    | transposed convolutions | `(..., filters, inputs)` | `(-2,)` |
    | locally connected | `(positions, inputs, filters)` | `(-3, -1)` |

    # Arguments
        layer: A Keras layer.
        kernel: `"kernel"`, `"depthwise"` or `"pointwise"`.

    # Raises
        ValueError: for locally connected layers whose kernel is laid out otherwise.
    """
    if kernel == "depthwise":
        return (-2, -1)
    if isinstance(layer, _TRANSPOSED):
        return (-2,)
    if isinstance(layer, _LOCAL):
        if layer.implementation != 1:
            raise ValueError(
                f"Layer {layer.name!r}: with implementation={layer.implementation} its kernel is "
                "not laid out by filters, so it has no magnitude code; use implementation=1."
            )
        return (-3, -1)
    return (-1,)


def axes_by_name(kernel: Any) -> Axes:
    """The axes for a kernel of which nothing is known but, if it is a variable, its name."""
    is_depthwise = isinstance(kernel, tf.Variable) and "depthwise_kernel" in kernel.name
    return (-2, -1) if is_depthwise else (-1,)


def tell_axes(layer: Any) -> None:
    """Tells the quantizers and constraints of a layer, if they ask, what its filters are.

    # Raises
        ValueError: for one that other kernels, with other filters, use too.
    """
    for kernel in _KERNELS:
        for part in ("quantizer", "constraint"):
            asking: Any = getattr(layer, f"{kernel}_{part}", None)
            if isinstance(asking, type) or not hasattr(asking, "filter_axes"):
                continue
            axes = filter_axes(layer, kernel)
            if asking.filter_axes is None:
                asking.filter_axes = axes
            elif asking.filter_axes != axes and isinstance(layer, _KNOWN):
                raise ValueError(
                    f"Layer {layer.name!r}: the filters of its {kernel} lie along axes {axes}, but "
                    f"its {kernel}_{part} takes axes {tuple(asking.filter_axes)}; give every "
                    f"kernel a {part} of its own, and leave filter_axes out."
                )


def quantized_kernel(layer: Any, quantizer: Any) -> str | None:
    """Which kernel of a layer a quantizer is the quantizer of, if any."""
    return next((k for k in _KERNELS if getattr(layer, f"{k}_quantizer", None) is quantizer), None)


def checked_axes(owner: str, axes: Any) -> Axes | None:
    """The argument `filter_axes` of a quantizer or constraint."""
    if axes is None:
        return None
    given = tuple(axes) if isinstance(axes, list | tuple) else ()
    if not given or not all(type(axis) is int and axis < 0 for axis in given):
        raise ValueError(
            f"{owner}: filter_axes={axes!r} is not supported; give negative axes, such as (-1,), "
            "or None for those of the layer."
        )
    return tuple(sorted(set(given)))


def checked_kernel(kernel: tf.Tensor) -> tf.Tensor:
    kernel = tf.convert_to_tensor(kernel)
    if not kernel.dtype.is_floating:
        raise TypeError(
            f"A kernel of type {kernel.dtype.name} has no magnitude code; give latent weights in "
            "floating point, for example tf.cast(kernel, tf.float32)."
        )
    if not kernel.shape.rank or not kernel.shape.num_elements():
        raise ValueError(
            f"A kernel of shape {kernel.shape} has no magnitude code; give a tensor with a static "
            "shape of 1 axis or more, filters last, and at least one weight."
        )
    return kernel


def to_columns(kernel: tf.Tensor, axes: Axes = (-1,)) -> tf.Tensor:
    """A matrix with a column per filter.

    # Arguments
        kernel: Tensor of a static shape.
        axes: The axes that tell filters apart, negative and ascending.
    """
    if axes[0] < -len(kernel.shape):
        raise ValueError(f"A kernel of shape {kernel.shape} has no filters along axes {axes}.")
    order = _order(len(kernel.shape), axes)
    filters = 1
    for axis in axes:
        filters *= kernel.shape[axis]
    if order is not None:
        kernel = tf.transpose(kernel, order)
    return tf.reshape(kernel, [-1, filters])


def from_columns(matrix: tf.Tensor, shape: Any, axes: Axes = (-1,)) -> tf.Tensor:
    """The kernel of which `to_columns` made the matrix."""
    order = _order(len(shape), axes)
    if order is None:
        return tf.reshape(matrix, shape)
    moved = tf.reshape(matrix, [shape[axis] for axis in order])
    return tf.transpose(moved, [order.index(axis) for axis in range(len(shape))])


def _order(rank: int, axes: Axes) -> list[int] | None:
    """Axes with those of filters last; `None` where they are."""
    last = [axis + rank for axis in axes]
    order = [axis for axis in range(rank) if axis not in last] + last
    return None if order == list(range(rank)) else order
