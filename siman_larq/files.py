"""Files that are either whole or absent."""

import contextlib
import os
import re
from pathlib import Path

__all__ = ["PARTIAL", "first_line", "write_atomically"]

PARTIAL = ".partial"


def write_atomically(path: Path, content: str | bytes) -> None:
    """Writes a file so that a kill at any moment leaves the old one or the new one.

    # Raises
        OSError: naming the path.
    """
    if path.is_symlink():
        path = path.resolve()  # or the link would be replaced
    partial = path.with_name(path.name + PARTIAL)
    data = content.encode() if isinstance(content, str) else content
    try:
        with open(partial, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(partial, path)
    except OSError as error:
        # On a full disk the part that was written would keep others from writing.
        with contextlib.suppress(OSError):
            partial.unlink(missing_ok=True)
        if error.errno is None:
            raise
        # Nobody knows of the partial file.
        raise OSError(error.errno, error.strerror, str(path)) from error


def first_line(error: BaseException) -> str:
    """What an error says, without the names of nodes and ops that TensorFlow puts around it."""
    text = re.sub(r"\{\{.*?\}\} ?| ?\[Op:\w+\]", "", str(error)).strip().split("\n")[0]
    return text.strip().rstrip(".") or type(error).__name__
