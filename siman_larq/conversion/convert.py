"""From a Keras model to a TFLite file in which every binary layer is 1-bit."""

import re
import tempfile
import warnings
from collections.abc import Sequence
from typing import Any

import larq_compute_engine as lce
import tensorflow as tf

from siman_larq.conversion.bake import baked_clone
from siman_larq.conversion.errors import ConversionError, SmallMapWarning
from siman_larq.conversion.flatbuffer import TFLiteModel
from siman_larq.conversion.layers import BinaryLayer, binary_layers
from siman_larq.conversion.packing import Packing, packing

__all__ = ["convert"]


def convert(
    model: tf.keras.Model, allow_float: Sequence[str] = (), small_maps: str = "warn"
) -> bytes:
    r"""Converts a model to TFLite with every binary layer in 1 bit, or says why it cannot.

    The kernels' codes are baked into a clone (see `siman_larq.conversion.bake`), the Larq Compute
    Engine converts that, and the file is then searched for each layer's code.

    !!! note "Small maps"
        Where a map is smaller than a zero-padded kernel, as 2x2 maps under 3x3 kernels are, LCE's
        default and indirect kernels compute wrong outputs. With `small_maps="rewrite"` such
        layers get the exactly equal form
        \\[
        a *_0 B = a *_1 B - \sum_{\text{taps outside}} B
        \\]
        where \\(*_0\\) and \\(*_1\\) pad with 0 and 1; that is right in all of LCE's kernels.

    !!! example
        ```python
        with open("model.tflite", "wb") as file:
            file.write(siman_larq.convert(model))
        ```

    # Arguments
        model: A functional or Sequential Keras model. It is not changed.
        allow_float: Names of binary layers that may stay float in the file.
        small_maps: `"warn"` or `"rewrite"`.

    # Returns
        The content of the TFLite file.

    # Raises
        ConversionError: if binary layers stay float, naming each with its reason and a cure; for
            models that cannot be cloned; and if LCE itself fails.
        ValueError: for unknown names in `allow_float` and other values of `small_maps`.

    # Warns
        SmallMapWarning: for layers that LCE's fast kernels compute wrongly.
    """
    if small_maps not in ("warn", "rewrite"):
        raise ValueError(f"convert: small_maps={small_maps!r} is not 'warn' or 'rewrite'.")
    clone = baked_clone(model, rewrite_small_maps=small_maps == "rewrite")
    layers = binary_layers(model)
    _check_names(layers, allow_float)
    if not layers:
        warnings.warn(
            f"convert: the model '{model.name}' has no binary layer; the file is all float. A "
            "layer is binary if its kernel quantizer has precision 1.",
            UserWarning,
            stacklevel=2,
        )
    content = _convert_with_lce(clone)
    file = TFLiteModel(content)
    found = packing(layers, file)
    _check_packed(layers, found, allow_float)
    if small_maps == "warn":
        _warn_of_small_maps(found)
    return file.shrunk({op.output: name for name, ops in found.ops.items() for op in ops})


def _check_names(layers: list[BinaryLayer], allow_float: Sequence[str]) -> None:
    if isinstance(allow_float, str):
        raise ValueError(f"convert: allow_float={allow_float!r} must be a list of names.")
    known = [layer.name for layer in layers]
    unknown = [name for name in allow_float if name not in known]
    if unknown:
        raise ValueError(
            f"convert: allow_float names {unknown}, which are not binary layers of the model; "
            f"these are {known}."
        )


def _convert_with_lce(model: tf.keras.Model) -> bytes:
    for tensor in model.inputs:
        if None in tensor.shape[1:]:
            raise ConversionError(
                f"convert: the input '{tensor.name}' of shape {tuple(tensor.shape)} leaves sizes "
                "open; only the batch size may be None."
            )
    # Without the Keras model in it, the SavedModel is written several times faster.
    module = tf.Module()
    module.kept = model.variables

    @tf.function(input_signature=[_spec(tensor) for tensor in model.inputs])
    def serve(*inputs: tf.Tensor) -> Any:
        return model(inputs[0] if len(inputs) == 1 else list(inputs), training=False)

    try:
        with tempfile.TemporaryDirectory() as folder:
            tf.saved_model.save(module, folder, signatures=serve.get_concrete_function())
            return lce.convert_saved_model(folder)
    except Exception as error:
        raise ConversionError(
            f"convert: the Larq Compute Engine could not convert '{model.name}': {error}"
        ) from error


def _spec(tensor: Any) -> tf.TensorSpec:
    return tf.TensorSpec(tensor.shape, tensor.dtype, name=re.sub(r"\W", "_", tensor.name))


def _check_packed(
    layers: list[BinaryLayer], found: Packing, allow_float: Sequence[str]
) -> None:
    left = [
        layer
        for layer in layers
        if layer.name in found.left_float and layer.name not in allow_float
    ]
    if not left:
        return
    unknown = "LCE did not recognise it as a binary convolution; look at how its input is made"
    lines = [f"  {layer.name}: {layer.obstacle() or unknown}." for layer in left]
    raise ConversionError(
        f"convert: {len(left)} of {len(layers)} binary layers would stay float in the file:\n"
        + "\n".join(lines)
        + "\nTo keep some of them float, name them in allow_float."
    )


def _warn_of_small_maps(found: Packing) -> None:
    names = [name for name, ops in found.ops.items() if any(op.misread_padding for op in ops)]
    if names:
        warnings.warn(
            f"convert: the maps of {names} are smaller than their zero-padded kernels, and LCE's "
            "default and indirect kernels compute wrong outputs there. Cures: "
            "convert(model, small_maps='rewrite'), pad_values=1 in these layers (before "
            "training), larger images, or LCE's use_reference_bconv=True when running the file.",
            SmallMapWarning,
            stacklevel=3,
        )
