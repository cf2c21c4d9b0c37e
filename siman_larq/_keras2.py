"""Larq needs Keras 2: TensorFlow is told to use it, and what is missing is one sentence.

Nothing here imports Larq, which fails deep inside without Keras 2.
"""

import importlib.util
import logging
import os
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

__all__ = ["require_keras2"]

SWITCH = "TF_USE_LEGACY_KERAS"
# In one command with siman-larq, whose pins then hold: TensorFlow alone would bring protobuf 4.
INSTALL = 'pip install "siman-larq[tf]"'
DISTRIBUTIONS = ("tensorflow", "tensorflow-cpu", "tensorflow-macos", "tensorflow-cpu-aws")


def require_keras2() -> None:
    """Imports TensorFlow with Keras 2, which is the package tf-keras from TensorFlow 2.16 on.

    # Raises
        ImportError: naming what is missing or does not fit, and the command that cures it.
    """
    if sys.version_info >= (3, 13):
        raise ImportError(
            f"siman-larq runs on Python 3.10 to 3.12, and this is {sys.version.split()[0]}, for "
            "which larq-compute-engine, and TensorFlow up to 2.19, have no wheel."
        )
    series = _series_of_tensorflow()
    _require_old_protobuf()
    switched = _switch_to_tf_keras(series)
    import tensorflow as tf

    try:
        # Keras 2 has no version here in some releases; Keras 3 always has.
        keras = getattr(tf.keras, "__version__", "2.x")
    except Exception as error:  # the switch without tf-keras fails in several ways
        raise ImportError(
            f"siman-larq needs Keras 2, and tf.keras cannot be imported ({error}); {_cure(series)}"
        ) from error
    if not keras.startswith("2."):
        raise ImportError(
            f"siman-larq needs Keras 2, as Larq does, and Keras {keras} is active in TensorFlow "
            f"{tf.__version__}; {_cure(series)}"
        )
    if switched:
        logging.getLogger("siman_larq").warning(
            "siman-larq: TensorFlow %s uses Keras 2 (tf-keras %s), which Larq needs; %s=1 is set.",
            tf.__version__,
            _version("tf-keras"),
            SWITCH,
        )


def _cure(series: tuple[int, int]) -> str:
    switch = os.environ.get(SWITCH, "")
    if series < (2, 16) and switch:
        return f"this TensorFlow has Keras 2 inside: unset {SWITCH}, which is {switch}"
    if not _installed("tf_keras"):
        return f'install it: pip install --no-deps "tf-keras~={series[0]}.{series[1]}.0"'
    if switch not in ("1", "true", "True"):
        return f"unset {SWITCH}, which is {switch}"
    return (
        "tensorflow's Keras was used before siman_larq was imported: import siman_larq before "
        "tensorflow"
    )


def _installed(module: str) -> bool:
    if module in sys.modules:
        return True
    spec = importlib.util.find_spec(module)
    # A folder that an uninstallation left behind has no __init__.py.
    return spec is not None and spec.origin is not None


def _version(distribution: str) -> str | None:
    try:
        return version(distribution)
    except PackageNotFoundError:
        return None


def _series_of_tensorflow() -> tuple[int, int]:
    if not _installed("tensorflow"):
        raise ImportError(
            "siman-larq needs TensorFlow 2.15 to 2.19, and none is installed; install it: "
            f"{INSTALL}"
        )
    # Not by importing it: with a wrong protobuf that ends deep inside.
    name = next(filter(_version, DISTRIBUTIONS), None)
    found = name and _version(name)
    if found is None:  # a build of one's own
        import tensorflow as tf

        found = tf.__version__
    major, minor = map(int, found.split(".")[:2])
    if not (2, 15) <= (major, minor) <= (2, 19):
        # `tensorflow` and `tensorflow-cpu` overwrite each other's files.
        is_usual = name in (None, "tensorflow")
        install = INSTALL if is_usual else f'pip install siman-larq "{name}>=2.15,<2.20"'
        raise ImportError(
            f"siman-larq needs TensorFlow 2.15 to 2.19, and {found} is installed; install one that "
            f"fits: {install}"
        )
    return major, minor


def _require_old_protobuf() -> None:
    """Larq Zoo needs zookeeper, and both need tensorflow-datasets 4.8, whose messages are old."""
    found = _version("protobuf")
    if found is not None and int(found.split(".")[0]) >= 4:
        raise ImportError(
            f"siman-larq needs protobuf 3.20.3, as Larq Zoo does, and {found} is installed; "
            'install the older one: pip install "protobuf==3.20.3"'
        )


def _switch_to_tf_keras(series: tuple[int, int]) -> bool:
    """Whether TensorFlow was told here to use tf-keras; the variable is the only way."""
    if series < (2, 16) or os.environ.get(SWITCH) or not _installed("tf_keras"):
        return False
    os.environ[SWITCH] = "1"
    tensorflow = sys.modules.get("tensorflow")
    if tensorflow is not None:
        # It was imported first. `tf.keras` reads the variable when it is first used; this is for
        # `from tensorflow.keras import ...`, and what TensorFlow itself does.
        spec = importlib.util.find_spec("tf_keras")
        assert spec is not None
        tensorflow.__path__.insert(0, str(Path(str(spec.origin)).parent / "api" / "_v2"))
    return True
