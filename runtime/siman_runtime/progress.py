"""How far `predict` has come, on standard error."""

import sys
import time
from collections.abc import Iterator
from typing import Any

from siman_runtime.inputs import Batch

__all__ = ["length", "progress"]


def length(x: Any) -> "int | None":
    """How many samples there are, if that is known before they come."""
    first = x[0] if isinstance(x, (list, tuple)) and x else x
    shape = getattr(first, "shape", ())
    return shape[0] if shape else None


def progress(batches: "Iterator[Batch]", total: "int | None") -> "Iterator[Batch]":
    """The same batches; shows a bar on the way."""
    start = shown = time.monotonic()
    count = 0
    for batch in batches:
        yield batch
        count += batch[1]
        now = time.monotonic()
        if now - shown > 0.1 or count == total:
            shown = now
            part = "" if not total else f"{'#' * (20 * count // total):<20} {count}/{total}"
            rate = count / (now - start) if now > start else 0.0
            sys.stderr.write(f"\r{part or count} images, {rate:.1f} per second ")
            sys.stderr.flush()
    if count:
        sys.stderr.write("\n")
