"""The commands of `siman_larq.cli`, whose help need not wait for TensorFlow.

`import siman_larq` registers its classes with Keras, and so imports TensorFlow, unless this module
is there already; then each command registers them itself, once it runs.
"""

from siman_larq.cli import main, tasks, train_cifar, train_imagenet

__all__ = ["main", "tasks", "train_cifar", "train_imagenet"]
