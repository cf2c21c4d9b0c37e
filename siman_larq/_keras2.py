"""Larq needs Keras 2. With Keras 3 active it fails deep inside, so this is checked before it."""

import tensorflow as tf

__all__ = ["require_keras2"]


def require_keras2() -> None:
    """Raises one clear ImportError unless `tf.keras` is Keras 2."""
    cure = (
        'install "tensorflow-cpu==2.15.1" (Keras 2 is inside), or keep TensorFlow up to 2.19, '
        '`pip install "tf-keras~=2.19.0"` (the release that matches TensorFlow) and set the '
        "environment variable TF_USE_LEGACY_KERAS=1 before tensorflow is first imported"
    )
    try:
        # Keras 2 has no version here in some releases; Keras 3 always has.
        version = getattr(tf.keras, "__version__", "2.x")
    except Exception as error:  # TF_USE_LEGACY_KERAS=1 without tf-keras fails in several ways
        raise ImportError(
            f"siman-larq needs Keras 2, and tf.keras cannot be imported ({error}). To cure it, "
            f"{cure}."
        ) from error
    if not version.startswith("2."):
        raise ImportError(
            f"siman-larq needs Keras 2, as Larq does, but Keras {version} is active in TensorFlow "
            f"{tf.__version__}. To cure it, {cure}."
        )
