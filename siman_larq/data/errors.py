"""The errors that `siman_larq.data` raises about data sets."""

__all__ = ["DatasetCorruptError", "DatasetNotFoundError"]


class DatasetNotFoundError(FileNotFoundError):
    """A data set is not on this machine; the message says how to get it."""


class DatasetCorruptError(ValueError):
    """A data set's file is damaged; the message names the file and the cure."""
