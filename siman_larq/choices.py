"""Names that options take. Without a slow import, so that `--help` need not wait for TensorFlow."""

from numbers import Integral, Real
from typing import Any

__all__ = [
    "AUGMENTATIONS",
    "CIFAR_MODELS",
    "CLAMPS",
    "CODES",
    "DATASET_NAMES",
    "FOLDER",
    "IMAGENET_MODELS",
    "KERNEL_OPTIMIZERS",
    "PRECISIONS",
    "RECIPES",
    "STRATEGIES",
    "STYLES",
    "ZOO_MODELS",
    "check_choice",
    "is_number",
    "is_whole",
]

CIFAR_MODELS = ("resnet20", "resnet8", "resnet18", "vgg_small")
# A test holds this against `siman_larq.zoo.MODELS`.
ZOO_MODELS = (
    "BinaryAlexNet",
    "BiRealNet",
    "BinaryResNetE18",
    "BinaryDenseNet28",
    "BinaryDenseNet37",
    "BinaryDenseNet37Dilated",
    "BinaryDenseNet45",
    "MeliusNet22",
    "XNORNet",
    "DoReFaNet",
    "RealToBinaryNet",
    "StrongBaselineNet",
    "QuickNetSmall",
    "QuickNet",
    "QuickNetLarge",
)
IMAGENET_MODELS = ("resnet18_imagenet", "resnet34_imagenet", *ZOO_MODELS)
DATASET_NAMES = ("cifar10", "cifar100", "fashion_mnist", "fashion_mnist_mini")
FOLDER = "folder:"  # and then the path of a folder of pictures
AUGMENTATIONS = ("crop", "flip", "none")
CODES = ("magnitude", "sign", "balanced_sign")
CLAMPS = ("both", "upper", "none")
KERNEL_OPTIMIZERS = ("sgd", "adam")
RECIPES = ("official", "best")
PRECISIONS = ("float32", "mixed_float16", "mixed_bfloat16")
STRATEGIES = ("single", "mirrored", "multiworker")
STYLES = ("official", "zoo", "reactnet")


def check_choice(name: str, value: str, allowed: tuple[str, ...]) -> None:
    """Raises a `ValueError` naming the option `name` if its `value` is none of `allowed`."""
    if value not in allowed:
        raise ValueError(f"{name}={value!r} is unknown; use one of {', '.join(allowed)}.")


def is_number(value: Any) -> bool:
    """Whether a setting is a real number, NumPy's too, and no `True`."""
    return isinstance(value, Real) and not isinstance(value, bool)


def is_whole(value: Any) -> bool:
    """Whether a setting is a whole number, NumPy's too, and no `True`."""
    return isinstance(value, Integral) and not isinstance(value, bool)
