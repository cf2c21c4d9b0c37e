"""What can go wrong, each with its cause and cure in the message."""

__all__ = ["EndedError", "LibraryError", "ModelError"]


class LibraryError(ImportError):
    """The native library or the runtime it plugs into is absent or unfit."""


class ModelError(ValueError):
    """A file that is damaged, or that asks for what siman-runtime does not know."""


class EndedError(ModelError):
    """An isolated model's process has ended: this interpreter computes nothing any more."""
