"""SiMaN for Larq: binary weights by magnitude, trained with Keras, exported to 1-bit TFLite."""

import importlib
import sys

import lazy_loader

__version__ = "0.1.0"

# The names are in __init__.pyi; each is imported when it is first used.
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)


def register() -> None:
    """Registers with Keras what saved models hold; `import siman_larq` has done it already.

    # Raises
        ImportError: unless TensorFlow is there, with Keras 2.
    """
    from siman_larq._keras2 import require_keras2

    require_keras2()
    modules = ("constraints", "layers", "models.blocks", "quantizers")
    for module in (*modules, "training.losses", "training.optimizer"):
        importlib.import_module(f"siman_larq.{module}")
    from siman_larq import _larq_zoo

    _larq_zoo.register()


# A saved model can be loaded once its classes are registered. Commands do so when they run, so
# that their help need not wait for TensorFlow.
if "siman_larq_cli" not in sys.modules and sys.orig_argv[1:3] != ["-m", "siman_larq"]:
    register()
