"""Runs Larq Compute Engine models with pip alone: a delegate for ai-edge-litert."""

from siman_runtime.errors import LibraryError, ModelError
from siman_runtime.interpreter import Interpreter
from siman_runtime.library import delegate, kernel_name
from siman_runtime.signature import SignatureRunner

__all__ = [
    "Interpreter",
    "LibraryError",
    "ModelError",
    "SignatureRunner",
    "__version__",
    "delegate",
    "kernel_name",
]

__version__ = "0.1.0"
