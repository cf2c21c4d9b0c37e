"""What conversion has to say to people."""

__all__ = ["ConversionError", "SmallMapWarning"]


class ConversionError(ValueError):
    """A model that does not become the 1-bit file it should."""


class SmallMapWarning(UserWarning):
    """Layers that LCE's fast kernels compute wrongly: zero padding on maps below the kernel."""
