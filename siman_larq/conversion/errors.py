"""What conversion raises and warns with."""

__all__ = ["ConversionError", "SmallMapWarning"]


class ConversionError(ValueError):
    """The model, or one of its binary layers, cannot become a 1-bit TFLite model."""


class SmallMapWarning(UserWarning):
    """A layer's map is smaller than its zero-padded kernel, which LCE's fast kernels get wrong."""
