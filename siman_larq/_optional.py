"""Packages that only some of what siman-larq does needs, imported where it is done."""

import importlib
import platform
import sys
from importlib.metadata import version
from types import ModuleType

__all__ = ["require"]

# The wheels of larq-compute-engine 0.16.0 on PyPI.
_LCE_PYTHONS = ((3, 10), (3, 11), (3, 12))
_LCE_MACHINES = (
    ("Linux", "x86_64"),
    ("Darwin", "x86_64"),
    ("Darwin", "arm64"),
    ("Windows", "AMD64"),
)


def require(module: str, extra: str, purpose: str) -> ModuleType:
    """Imports a module of an optional package.

    !!! example
        ```python
        lce = require("larq_compute_engine", extra="convert", purpose="convert")
        ```

    # Arguments
        module: The module's name, with its package's.
        extra: The extra of siman-larq that installs it.
        purpose: What needs it, as the user knows it.

    # Returns
        The module.

    # Raises
        ImportError: if the package is absent or broken, with the cure.
    """
    package = module.partition(".")[0]
    name = package.replace("_", "-")
    try:
        return importlib.import_module(module)
    except ImportError as error:
        if isinstance(error, ModuleNotFoundError) and error.name == package:
            raise ImportError(f"{purpose} needs {name}; {_cure(name, extra)}.") from None
        raise ImportError(
            f"{purpose} needs {name}, which is installed and cannot be imported ({error}); install "
            f"it again: pip install --force-reinstall --no-deps {name}=={version(name)}."
        ) from error


def _cure(name: str, extra: str) -> str:
    here = (platform.system(), platform.machine())
    is_lce = name == "larq-compute-engine"
    if is_lce and not (sys.version_info[:2] in _LCE_PYTHONS and here in _LCE_MACHINES):
        return (
            f"it has no wheel for Python {platform.python_version()} on {' '.join(here)}, only for "
            "Python 3.10 to 3.12 on Linux x86-64, macOS and Windows x86-64; save the model, and do "
            "this on such a machine"
        )
    return f'install it: pip install "siman-larq[{extra}]"'
