"""Conversion to 1-bit TFLite, and the proof that the file equals the model."""

from siman_larq.conversion.comparison import OutputReport, Report
from siman_larq.conversion.convert import convert
from siman_larq.conversion.errors import ConversionError, SmallMapWarning
from siman_larq.conversion.flatbuffer import operators
from siman_larq.conversion.layer_report import LayerReport, LayersReport, OutputRoundings
from siman_larq.conversion.metadata import add_input_settings, read_input_settings
from siman_larq.conversion.verify import verify

__all__ = [
    "ConversionError",
    "LayerReport",
    "LayersReport",
    "OutputReport",
    "OutputRoundings",
    "Report",
    "SmallMapWarning",
    "add_input_settings",
    "convert",
    "operators",
    "read_input_settings",
    "verify",
]
