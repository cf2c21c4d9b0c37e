"""What files of binary weights have to say to people."""

__all__ = ["BinaryFileError"]


class BinaryFileError(ValueError):
    """A file of binary weights that is damaged, is none, or does not fit a model."""
