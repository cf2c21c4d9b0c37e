"""Training, resuming and reporting."""

import lazy_loader

# The names are in __init__.pyi; the optimizer alone is imported to load a model.
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
