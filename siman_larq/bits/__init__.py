"""The weights of a model in a file of bits that NumPy reads, and back into a model."""

import lazy_loader

# The names are in __init__.pyi. Reading a file takes no TensorFlow, and does not wait for it.
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
