"""Larq Zoo's models in SiMaN form, as plain functions."""

from collections.abc import Callable, Sequence
from typing import Any

import tensorflow as tf

from siman_larq.math import Threshold
from siman_larq.zoo import factories
from siman_larq.zoo.factory import SiMaNFactory
from siman_larq.zoo.replacements import LEVELS

__all__ = [
    "MODELS",
    "BiRealNet",
    "BinaryAlexNet",
    "BinaryDenseNet28",
    "BinaryDenseNet37",
    "BinaryDenseNet37Dilated",
    "BinaryDenseNet45",
    "BinaryResNetE18",
    "DoReFaNet",
    "MeliusNet22",
    "QuickNet",
    "QuickNetLarge",
    "QuickNetSmall",
    "RealToBinaryNet",
    "StrongBaselineNet",
    "XNORNet",
]

Builder = Callable[..., tf.keras.Model]

_DOC = """{name} of Larq Zoo with SiMaN's magnitude code in its binary kernels.

    !!! example
        ```python
        model = siman_larq.zoo.{name}(input_shape=(224, 224, 3), num_classes=1000)
        ```

    # Arguments
        input_shape: Height, width and channels of the images.
        num_classes: Number of outputs.
        levels: As for `siman_larq.zoo.binarize`, like `threshold`, `kernel_quantizer`,
            `kernel_constraint` and `input_quantizer`.
        threshold: As for `binarize`.
        weights: `None` (random), `"imagenet"` (those of the stock model, trained with its own
            quantizers and downloaded: a starting point) or the path of a weights file.
        include_top: Whether the model ends with its classifier.
        input_tensor: A Keras tensor to build the model upon.
        kernel_quantizer: As for `binarize`.
        kernel_constraint: As for `binarize`.
        input_quantizer: As for `binarize`.
        fields: Other fields of `siman_larq.zoo.{factory}`.

    # Returns
        A functional Keras model that gives probabilities, or features without the top.

    # Raises
        TypeError: for values of another type than the field's, and unknown fields.
        ValueError: for values that are not supported, naming them.
    """


def _builder(factory: type[SiMaNFactory]) -> Builder:
    def build(
        input_shape: Sequence[int | None] | None = (224, 224, 3),
        num_classes: int = 1000,
        levels: Sequence[float] = LEVELS,
        threshold: Threshold = "median",
        weights: str | None = None,
        include_top: bool = True,
        input_tensor: Any = None,
        kernel_quantizer: Any = None,
        kernel_constraint: Any = "percentile_clip",
        input_quantizer: Any = None,
        **fields: Any,
    ) -> tf.keras.Model:
        if kernel_quantizer is not None:
            fields["kernel_quantizer"] = kernel_quantizer
        return factory(
            input_shape=None if input_shape is None else tuple(input_shape),
            num_classes=num_classes,
            levels=levels,
            threshold=threshold,
            weights=weights,
            include_top=include_top,
            input_tensor=input_tensor,
            kernel_constraint=kernel_constraint,
            input_quantizer=input_quantizer,
            **fields,
        ).build()

    name = factory.__name__.removeprefix("SiMaN").removesuffix("Factory")
    build.__name__ = build.__qualname__ = name
    build.__doc__ = _DOC.format(name=name, factory=factory.__name__)
    return build


BinaryAlexNet = _builder(factories.SiMaNBinaryAlexNetFactory)
BiRealNet = _builder(factories.SiMaNBiRealNetFactory)
BinaryResNetE18 = _builder(factories.SiMaNBinaryResNetE18Factory)
BinaryDenseNet28 = _builder(factories.SiMaNBinaryDenseNet28Factory)
BinaryDenseNet37 = _builder(factories.SiMaNBinaryDenseNet37Factory)
BinaryDenseNet37Dilated = _builder(factories.SiMaNBinaryDenseNet37DilatedFactory)
BinaryDenseNet45 = _builder(factories.SiMaNBinaryDenseNet45Factory)
MeliusNet22 = _builder(factories.SiMaNMeliusNet22Factory)
XNORNet = _builder(factories.SiMaNXNORNetFactory)
DoReFaNet = _builder(factories.SiMaNDoReFaNetFactory)
RealToBinaryNet = _builder(factories.SiMaNRealToBinaryNetFactory)
StrongBaselineNet = _builder(factories.SiMaNStrongBaselineNetFactory)
QuickNetSmall = _builder(factories.SiMaNQuickNetSmallFactory)
QuickNet = _builder(factories.SiMaNQuickNetFactory)
QuickNetLarge = _builder(factories.SiMaNQuickNetLargeFactory)

MODELS: dict[str, Builder] = {
    model.__name__: model
    for model in (
        BinaryAlexNet,
        BiRealNet,
        BinaryResNetE18,
        BinaryDenseNet28,
        BinaryDenseNet37,
        BinaryDenseNet37Dilated,
        BinaryDenseNet45,
        MeliusNet22,
        XNORNet,
        DoReFaNet,
        RealToBinaryNet,
        StrongBaselineNet,
        QuickNetSmall,
        QuickNet,
        QuickNetLarge,
    )
}
