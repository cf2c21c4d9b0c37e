"""From trained Keras models to 1-bit TFLite files, with proof that every layer packed."""

from siman_larq.conversion.bake import bake
from siman_larq.conversion.convert import convert
from siman_larq.conversion.errors import ConversionError, SmallMapWarning
from siman_larq.conversion.verify import Report, verify

__all__ = ["ConversionError", "Report", "SmallMapWarning", "bake", "convert", "verify"]
