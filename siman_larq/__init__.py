"""SiMaN for Larq: binary weights by magnitude, trained with Keras, exported to 1-bit TFLite."""

from siman_larq._keras2 import require_keras2

require_keras2()

from siman_larq import models, zoo  # noqa: E402
from siman_larq.callbacks import ClipAnnealing  # noqa: E402
from siman_larq.checks import check_no_l2  # noqa: E402
from siman_larq.constraints import PercentileClip  # noqa: E402
from siman_larq.conversion import (  # noqa: E402
    ConversionError,
    Report,
    SmallMapWarning,
    convert,
    verify,
)
from siman_larq.layers import SiMaNConv2D  # noqa: E402
from siman_larq.quantizers import SampleSign, SiMaNQuantizer  # noqa: E402

__version__ = "0.1.0"

__all__ = [
    "ClipAnnealing",
    "ConversionError",
    "PercentileClip",
    "Report",
    "SampleSign",
    "SiMaNConv2D",
    "SiMaNQuantizer",
    "SmallMapWarning",
    "check_no_l2",
    "convert",
    "models",
    "verify",
    "zoo",
]
