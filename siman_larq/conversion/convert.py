"""From Keras model to 1-bit TFLite file."""

import contextlib
import io
import tempfile
import warnings
from collections.abc import Sequence

import larq_compute_engine as lce
import tensorflow as tf

from siman_larq.conversion.bake import bake
from siman_larq.conversion.binary import binary_layers, small_map_layers, why_float
from siman_larq.conversion.errors import ConversionError, SmallMapWarning
from siman_larq.conversion.flatbuffer import compacted, packed_layers

__all__ = ["convert"]


def convert(
    model: tf.keras.Model, allow_float: Sequence[str] = (), small_maps: str = "warn"
) -> bytes:
    r"""Converts a model to a TFLite file in which every binary convolution is a 1-bit op.

    Codes are baked into the file: kernels in {-1, +1} as they are, kernels in {0, 1} as
    \\(a * B = \frac{1}{2} (a * (2B - 1) + a * 1)\\). The model is left as it is.

    !!! example
        ```python
        tflite = siman_larq.convert(model)
        pathlib.Path("model.tflite").write_bytes(tflite)
        ```

    # Arguments
        model: A functional or Sequential Keras model; any binary quantizers of Larq.
        allow_float: Names of binary layers that may stay float.
        small_maps: What to do about zero padding on maps smaller than the kernel, which LCE's
            default and indirect kernels compute wrongly. `"warn"`: name the layers in a
            `SmallMapWarning`. `"rewrite"`: put an equal form into the file (padding with ones
            minus a constant) that is right in every kernel.

    # Returns
        The file's bytes.

    # Raises
        ConversionError: naming every binary layer that would stay float, with the reason; for
            subclassed models; for NaN or infinite weights; when LCE fails.
        ValueError: for a name in `allow_float` that is no binary layer, or another `small_maps`.
    """
    if not isinstance(model, tf.keras.Model):
        raise TypeError(f"convert: model={model!r} is no tf.keras.Model.")
    if small_maps not in ("warn", "rewrite"):
        raise ValueError(f"convert: small_maps={small_maps!r} is unknown; use 'warn' or 'rewrite'.")
    allowed = _checked_names(model, allow_float)
    if not binary_layers(model):
        warnings.warn(
            f"Model {model.name!r} has no binary layer (one whose kernel quantizer has precision "
            "1), so its file is all float.",
            UserWarning,
            stacklevel=2,
        )
    baked = bake(model, rewrite_small_maps=small_maps == "rewrite")
    try:
        tflite = compacted(_converted(baked))
    except Exception as error:
        raise ConversionError(
            f"Larq Compute Engine could not convert model {model.name!r}: {error}"
        ) from error
    _, left = packed_layers(model, tflite)
    failed = [layer for layer in left if layer.name not in allowed]
    if failed:
        reasons = "\n  ".join(f"{layer.name}: {why_float(layer)}" for layer in failed)
        names = [layer.name for layer in failed]
        raise ConversionError(
            f"{len(failed)} binary layers of model {model.name!r} would stay float:\n  {reasons}\n"
            f"If that is what you want, pass allow_float={names}."
        )
    small = small_map_layers(model)
    if small and small_maps == "warn":
        warnings.warn(
            f"Layers {', '.join(layer.name for layer in small)} pad with zeros on maps smaller "
            "than their kernel, and Larq Compute Engine's default and indirect kernels compute "
            "these wrongly. Convert with small_maps='rewrite', which is right everywhere, or use "
            "larger images, pad_values=1, or the interpreter's use_reference_bconv=True.",
            SmallMapWarning,
            stacklevel=2,
        )
    return tflite


def _checked_names(model: tf.keras.Model, allow_float: Sequence[str]) -> set[str]:
    allowed = {allow_float} if isinstance(allow_float, str) else set(allow_float)
    known = [layer.name for layer in binary_layers(model)]
    if unknown := sorted(allowed - set(known)):
        raise ValueError(
            f"convert: allow_float names {unknown}, which are no binary layers of model "
            f"{model.name!r}; it has {known}."
        )
    return allowed


def _converted(baked: tf.keras.Model) -> bytes:
    # LCE's own way from Keras saves every layer's training functions too: five times slower.
    with tempfile.TemporaryDirectory() as folder:
        with contextlib.redirect_stdout(io.StringIO()), _without_warnings():
            baked.export(folder)
        return lce.convert_saved_model(folder)


@contextlib.contextmanager
def _without_warnings():
    """Keras has news about the file on the way, which nobody needs here."""
    logger = tf.get_logger()
    level = logger.level
    logger.setLevel("ERROR")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)
