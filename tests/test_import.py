"""TensorFlow is there, with Keras 2 in it, before Larq fails deep inside; if not, one sentence."""

import os
import subprocess
import sys
from importlib.metadata import PackageNotFoundError
from pathlib import Path

import pytest
import tensorflow as tf

from siman_larq import _keras2
from siman_larq._keras2 import require_keras2

ROOT = Path(__file__).parents[1]
NEW = tuple(map(int, tf.__version__.split(".")[:2])) >= (2, 16)


@pytest.fixture
def versions(monkeypatch):
    """What is installed, as far as the metadata say."""
    known = {"tensorflow": "2.19.1", "tf-keras": "2.19.0", "protobuf": "3.20.3"}

    def version(name):
        if name not in known:
            raise PackageNotFoundError(name)
        return known[name]

    monkeypatch.setattr(_keras2, "version", version)
    return known


def message():
    with pytest.raises(ImportError) as error:
        require_keras2()
    return str(error.value)


def test_what_is_installed_passes():
    assert require_keras2() is None


@pytest.mark.parametrize(
    ("name", "found", "cure"),
    [
        ("tensorflow", "2.14.1", 'pip install "siman-larq[tf]"'),
        ("tensorflow", "2.20.0", 'pip install "siman-larq[tf]"'),
        ("tensorflow-cpu", "2.20.0", 'pip install siman-larq "tensorflow-cpu>=2.15,<2.20"'),
    ],
)
def test_another_tensorflow(versions, name, found, cure):
    del versions["tensorflow"]
    versions[name] = found
    assert message() == (
        f"siman-larq needs TensorFlow 2.15 to 2.19, and {found} is installed; install one that "
        f"fits: {cure}"
    )


def test_no_tensorflow(monkeypatch):
    installed = _keras2._installed
    monkeypatch.setattr(
        _keras2, "_installed", lambda name: name != "tensorflow" and installed(name)
    )
    assert message() == (
        "siman-larq needs TensorFlow 2.15 to 2.19, and none is installed; install it: "
        'pip install "siman-larq[tf]"'
    )


@pytest.mark.parametrize("found", ["4.25.8", "6.33.0"])
def test_a_protobuf_that_is_too_new(versions, found):
    versions["protobuf"] = found
    assert f"needs protobuf 3.20.3, as Larq Zoo does, and {found} is" in message()
    assert message().endswith(': pip install "protobuf==3.20.3"')


def test_a_python_that_is_too_new(monkeypatch):
    monkeypatch.setattr(sys, "version_info", (3, 13, 0))
    assert "siman-larq runs on Python 3.10 to 3.12" in message()


@pytest.mark.parametrize(
    ("installed", "switch", "cure"),
    [
        (False, "", 'install it: pip install --no-deps "tf-keras~=2.19.0"'),
        (False, "1", 'install it: pip install --no-deps "tf-keras~=2.19.0"'),
        (True, "0", "unset TF_USE_LEGACY_KERAS, which is 0"),
        (True, "1", "before siman_larq was imported: import siman_larq before tensorflow"),
    ],
)
@pytest.mark.usefixtures("versions")
def test_keras_3(monkeypatch, installed, switch, cure):
    monkeypatch.setattr(tf.keras, "__version__", "3.4.1", raising=False)
    monkeypatch.setattr(_keras2, "_installed", lambda name: name == "tensorflow" or installed)
    monkeypatch.setenv("TF_USE_LEGACY_KERAS", switch)
    assert "needs Keras 2, as Larq does, and Keras 3.4.1 is active in TensorFlow" in message()
    assert message().endswith(cure)


def python(program, **environment):
    """What a fresh process prints."""
    clean = {name: value for name, value in os.environ.items() if name != "TF_USE_LEGACY_KERAS"}
    process = subprocess.run(
        [sys.executable, "-c", program],
        env={**clean, "PYTHONPATH": str(ROOT), **environment},
        capture_output=True,
        text=True,
    )
    assert process.returncode == 0, process.stderr
    return process.stdout, process.stderr


@pytest.mark.skipif(NEW, reason="this TensorFlow has no Keras 2 inside")
def test_the_switch_without_tf_keras():
    program = "try:\n    import siman_larq\nexcept ImportError as error:\n    print(error)"
    printed, _ = python(program, TF_USE_LEGACY_KERAS="1")
    assert printed.endswith("Keras 2 inside: unset TF_USE_LEGACY_KERAS, which is 1\n")


@pytest.mark.skipif(not NEW, reason="this TensorFlow has Keras 2 inside")
def test_tensorflow_is_told_to_use_tf_keras():
    program = (
        "import siman_larq, tensorflow as tf, tf_keras\n"
        "from tensorflow.keras import layers\n"
        "print(layers.Dense is tf.keras.layers.Dense is tf_keras.layers.Dense)"
    )
    for first in ("", "import tensorflow\n"):
        printed, said = python(first + program)
        assert printed == "True\n"
        assert said.count("which Larq needs; TF_USE_LEGACY_KERAS=1 is set.") == 1


@pytest.mark.skipif(not NEW, reason="this TensorFlow has Keras 2 inside")
def test_keras_3_was_used_first():
    program = (
        "from tensorflow.keras import layers\n"
        "try:\n    import siman_larq\nexcept ImportError as error:\n    print(error)"
    )
    printed, _ = python(program)
    assert printed.endswith("import siman_larq before tensorflow\n")


EVERYTHING = """
import importlib, pkgutil, sys
import siman_larq
heavy = {"larq_zoo", "larq_compute_engine", "matplotlib", "tensorflow_datasets"}
print(sorted(heavy & set(sys.modules)))

import larq as lq, numpy as np, tensorflow as tf
before = dict(tf.keras.utils.get_custom_objects())
blurpool = before["blurpool_initializer"]((3, 3, 2, 1))
for module in pkgutil.walk_packages(siman_larq.__path__, "siman_larq."):
    if not module.name.endswith("__main__"):
        importlib.import_module(module.name)
after = tf.keras.utils.get_custom_objects()
print("larq_compute_engine" in sys.modules)

def precision(known, name):
    return getattr(known[name], "precision", 32)

print([n for n in after if n not in before or precision(before, n) != precision(after, n)])
print(after["blurpool_initializer"].__module__)
print(np.array_equal(after["blurpool_initializer"]((3, 3, 2, 1)), blurpool))
print(type(lq.quantizers.get("siman")).__name__)
print(all(getattr(siman_larq, name) for name in siman_larq.__all__))
"""


def test_import_registers_what_models_hold_and_imports_little():
    printed, _ = python(EVERYTHING)
    assert printed.splitlines()[-7:] == [
        "[]",
        "False",
        "[]",
        "larq_zoo.sota.quicknet",
        "True",
        "SiMaNQuantizer",
        "True",
    ]
