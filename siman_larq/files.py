"""Files that are either whole or absent."""

import os
import re
from pathlib import Path

__all__ = ["PARTIAL", "first_line", "write_atomically"]

PARTIAL = ".partial"


def write_atomically(path: Path, content: str | bytes) -> None:
    """Writes a file so that a kill at any moment leaves the old one or the new one."""
    partial = path.with_name(path.name + PARTIAL)
    data = content.encode() if isinstance(content, str) else content
    try:
        with open(partial, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(partial, path)
    except OSError:
        # On a full disk the part that was written would keep others from writing.
        partial.unlink(missing_ok=True)
        raise


def first_line(error: BaseException) -> str:
    """What an error says, without the names of nodes and ops that TensorFlow puts around it."""
    text = re.sub(r"\{\{.*?\}\} ?| ?\[Op:\w+\]", "", str(error)).strip().split("\n")[0]
    return text.strip().rstrip(".") or type(error).__name__
