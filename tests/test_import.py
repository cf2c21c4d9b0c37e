"""With Keras 3 active there is one clear error, before Larq fails deep inside."""

import importlib.util
import os
import subprocess
import sys

import pytest
import tensorflow as tf

from siman_larq._keras2 import require_keras2


def test_keras_2_passes():
    assert require_keras2() is None


def test_keras_3_is_refused(monkeypatch):
    monkeypatch.setattr(tf.keras, "__version__", "3.4.1", raising=False)
    with pytest.raises(ImportError) as error:
        require_keras2()
    for part in (
        "needs Keras 2",
        "Keras 3.4.1",
        "pip install",
        "tf-keras",
        "TF_USE_LEGACY_KERAS=1",
    ):
        assert part in str(error.value)


def test_a_broken_keras_is_refused(monkeypatch):
    class Broken:
        def __getattr__(self, name):
            raise ModuleNotFoundError("No module named 'tf_keras'")

    monkeypatch.setattr("siman_larq._keras2.tf", type("Stub", (), {"keras": Broken()}))
    with pytest.raises(ImportError, match="No module named 'tf_keras'.*TF_USE_LEGACY_KERAS=1"):
        require_keras2()


def test_import_with_the_real_keras_of_tensorflow():
    """Keras 3 where TensorFlow brings it (2.16 and newer), Keras 2 before."""
    program = (
        "import sys\n"
        "try:\n"
        "    import siman_larq\n"
        "except ImportError as error:\n"
        "    print('refused', 'larq' in sys.modules, error)\n"
        "else:\n"
        "    print('imported')\n"
    )
    # Where Python found the package, also without an installation.
    folder = os.path.dirname(os.path.dirname(importlib.util.find_spec("siman_larq").origin))
    environment = {k: v for k, v in os.environ.items() if k != "TF_USE_LEGACY_KERAS"}
    environment["PYTHONPATH"] = folder
    process = subprocess.run(
        [sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True
    )
    if tuple(map(int, tf.__version__.split(".")[:2])) < (2, 16):
        assert process.stdout == "imported\n"
    else:
        assert process.stdout.startswith("refused False siman-larq needs Keras 2")
        assert "TF_USE_LEGACY_KERAS=1" in process.stdout
