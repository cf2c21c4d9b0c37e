"""What can go wrong, each with its cause and cure in the message."""

__all__ = ["LibraryError", "ModelError"]


class LibraryError(ImportError):
    """The native library or the runtime it plugs into is absent or unfit."""


class ModelError(ValueError):
    """A file that is damaged, or that asks for what siman-runtime does not know."""
