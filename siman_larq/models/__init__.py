"""The paper's networks."""

from siman_larq.models.blocks import ChannelPaddedShortcut
from siman_larq.models.cifar import resnet8, resnet18, resnet20, vgg_small
from siman_larq.models.imagenet import resnet18_imagenet, resnet34_imagenet

__all__ = [
    "ChannelPaddedShortcut",
    "resnet8",
    "resnet18",
    "resnet18_imagenet",
    "resnet20",
    "resnet34_imagenet",
    "vgg_small",
]
