"""What codes, latent weights and activations look like: figures, pictures and a log."""

import lazy_loader

# The names are in __init__.pyi; statistics need no TensorFlow.
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
