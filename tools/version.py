"""Which version of the package a tool has at work."""

import hashlib
from pathlib import Path


def digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:16]


def package() -> str:
    """A hash of the package, since figures of two versions do not go together."""
    files = sorted((Path(__file__).resolve().parents[1] / "siman_larq").rglob("*.py"))
    return digest(b"".join(path.read_bytes() for path in files))
