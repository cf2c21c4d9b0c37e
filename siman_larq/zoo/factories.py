"""Larq Zoo's factories in SiMaN form, for zookeeper's experiments and command lines.

All fields of the stock factories are there, and those of `SiMaNFactory`.
"""

from larq_zoo.literature import (
    binary_alex_net,
    birealnet,
    densenet,
    dorefanet,
    meliusnet,
    real_to_bin_nets,
    resnet_e,
    xnornet,
)
from larq_zoo.sota import quicknet
from zookeeper import factory

from siman_larq.zoo.factory import SiMaNFactory

__all__ = [
    "SiMaNBiRealNetFactory",
    "SiMaNBinaryAlexNetFactory",
    "SiMaNBinaryDenseNet28Factory",
    "SiMaNBinaryDenseNet37DilatedFactory",
    "SiMaNBinaryDenseNet37Factory",
    "SiMaNBinaryDenseNet45Factory",
    "SiMaNBinaryResNetE18Factory",
    "SiMaNDoReFaNetFactory",
    "SiMaNMeliusNet22Factory",
    "SiMaNQuickNetFactory",
    "SiMaNQuickNetLargeFactory",
    "SiMaNQuickNetSmallFactory",
    "SiMaNRealToBinaryNetFactory",
    "SiMaNStrongBaselineNetFactory",
    "SiMaNXNORNetFactory",
]


@factory
class SiMaNBinaryAlexNetFactory(SiMaNFactory, binary_alex_net.BinaryAlexNetFactory):
    """The SiMaN form of BinaryAlexNet; real weights in its first layer."""


@factory
class SiMaNBiRealNetFactory(SiMaNFactory, birealnet.BiRealNetFactory):
    """The SiMaN form of BiRealNet."""


@factory
class SiMaNBinaryResNetE18Factory(SiMaNFactory, resnet_e.BinaryResNetE18Factory):
    """The SiMaN form of BinaryResNetE18."""


@factory
class SiMaNBinaryDenseNet28Factory(SiMaNFactory, densenet.BinaryDenseNet28Factory):
    """The SiMaN form of BinaryDenseNet28."""


@factory
class SiMaNBinaryDenseNet37Factory(SiMaNFactory, densenet.BinaryDenseNet37Factory):
    """The SiMaN form of BinaryDenseNet37."""


@factory
class SiMaNBinaryDenseNet37DilatedFactory(SiMaNFactory, densenet.BinaryDenseNet37DilatedFactory):
    """The SiMaN form of BinaryDenseNet37Dilated."""


@factory
class SiMaNBinaryDenseNet45Factory(SiMaNFactory, densenet.BinaryDenseNet45Factory):
    """The SiMaN form of BinaryDenseNet45."""


@factory
class SiMaNMeliusNet22Factory(SiMaNFactory, meliusnet.MeliusNet22Factory):
    """The SiMaN form of MeliusNet22."""


@factory
class SiMaNXNORNetFactory(SiMaNFactory, xnornet.XNORNetFactory):
    """The SiMaN form of XNORNet; without the l2 penalty of its binary kernels."""


@factory
class SiMaNDoReFaNetFactory(SiMaNFactory, dorefanet.DoReFaNetFactory):
    """The SiMaN form of DoReFaNet; with `SampleSign` in place of its 2-bit activations."""


@factory
class SiMaNRealToBinaryNetFactory(SiMaNFactory, real_to_bin_nets.RealToBinNetBNNFactory):
    """The SiMaN form of RealToBinaryNet, the last stage."""


@factory
class SiMaNStrongBaselineNetFactory(SiMaNFactory, real_to_bin_nets.StrongBaselineNetBNNFactory):
    """The SiMaN form of StrongBaselineNet, the last stage."""


@factory
class SiMaNQuickNetSmallFactory(SiMaNFactory, quicknet.QuickNetSmallFactory):
    """The SiMaN form of QuickNetSmall."""


@factory
class SiMaNQuickNetFactory(SiMaNFactory, quicknet.QuickNetFactory):
    """The SiMaN form of QuickNet."""


@factory
class SiMaNQuickNetLargeFactory(SiMaNFactory, quicknet.QuickNetLargeFactory):
    """The SiMaN form of QuickNetLarge."""
