"""What is absent is one sentence with the cure that is right on this machine."""

import platform
import sys

import pytest
from test_report import network, source

from siman_larq import convert, verify
from siman_larq._optional import require
from siman_larq.training import recipe_for
from siman_larq.training.report import finish


@pytest.fixture
def without_lce(monkeypatch):
    """A machine on which larq-compute-engine is not installed."""
    for name in [name for name in sys.modules if name.startswith("larq_compute_engine")]:
        monkeypatch.delitem(sys.modules, name)
    find = sys.meta_path.copy()

    class Absent:
        @staticmethod
        def find_spec(name, path=None, target=None):
            if name == "larq_compute_engine":
                raise ModuleNotFoundError(f"No module named {name!r}", name=name)

    monkeypatch.setattr(sys, "meta_path", [Absent, *find])


def on(monkeypatch, system, machine):
    monkeypatch.setattr(platform, "system", lambda: system)
    monkeypatch.setattr(platform, "machine", lambda: machine)


def test_a_module_that_is_there():
    assert require("json.decoder", extra="convert", purpose="convert").JSONDecoder


@pytest.mark.usefixtures("without_lce")
@pytest.mark.parametrize("where", [("Linux", "x86_64"), ("Darwin", "arm64"), ("Windows", "AMD64")])
def test_lce_where_it_has_a_wheel(monkeypatch, where):
    on(monkeypatch, *where)
    with pytest.raises(ImportError) as error:
        require("larq_compute_engine.tflite", extra="convert", purpose="verify")
    assert str(error.value) == (
        'verify needs larq-compute-engine; install it: pip install "siman-larq[convert]".'
    )


@pytest.mark.usefixtures("without_lce")
@pytest.mark.parametrize("where", [("Linux", "aarch64"), ("Windows", "ARM64")])
def test_lce_where_it_has_none(monkeypatch, where):
    on(monkeypatch, *where)
    with pytest.raises(ImportError) as error:
        require("larq_compute_engine", extra="convert", purpose="convert")
    message = str(error.value)
    assert f"has no wheel for Python {platform.python_version()} on {' '.join(where)}" in message
    assert "Python 3.10 to 3.12 on Linux x86-64, macOS" in message
    assert "pip" not in message


def test_a_package_that_is_broken(monkeypatch, tmp_path):
    package = tmp_path / "hollow_package"
    package.mkdir()
    (package / "__init__.py").write_text("import no_such_library")
    (tmp_path / "hollow_package-1.2.dist-info").mkdir()
    metadata = "Metadata-Version: 2.1\nName: hollow-package\nVersion: 1.2\n"
    (tmp_path / "hollow_package-1.2.dist-info/METADATA").write_text(metadata)
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ImportError) as error:
        require("hollow_package", extra="convert", purpose="convert")
    assert "No module named 'no_such_library'" in str(error.value)
    assert "--no-deps hollow-package==1.2." in str(error.value)


@pytest.mark.usefixtures("without_lce")
def test_a_training_without_lce_ends_with_the_model_and_its_report(tmp_path):
    model = network(4)
    table = finish(recipe_for("fashion_mnist_mini"), tmp_path, model, source("abcd"))
    names = {path.name for path in tmp_path.iterdir()}
    assert names >= {"model.keras", "input.json", "report.json", "confusion.png", "samples.png"}
    assert "model.tflite" not in names
    assert "The 1-bit file needs" in (tmp_path / "report.md").read_text()
    assert "accuracy, Keras, 40 images" in table
    assert f"The trained model is {tmp_path / 'model.keras'}. The 1-bit file needs" in table


@pytest.mark.usefixtures("without_lce")
def test_what_needs_lce_says_so():
    model = network(4)
    with pytest.raises(ImportError, match="convert needs larq-compute-engine"):
        convert(model)
    with pytest.raises(ImportError, match="larq-compute-engine"):
        verify(model, b"no file", source("abcd").test_sample(2, (32, 32, 3))[0])
