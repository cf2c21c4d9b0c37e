"""The package from its source archive, as `pip install` and `python -m build` make it."""

import os
import runpy
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[1]

pytestmark = pytest.mark.skipif(
    not (SOURCE / "setup.py").exists(), reason="tests without the package's source"
)


def made(kind: str, source: Path, output: Path) -> Path:
    """The archive that the build backend makes, by the hook's name."""
    code = f"import setuptools.build_meta as b, sys; b.build_{kind}(sys.argv[1])"
    environment = os.environ | {"SIMAN_REQUIRE_LIBRARY": "1"}
    environment.pop("SIMAN_WERROR", None)
    command = [sys.executable, "-c", code, str(output)]
    done = subprocess.run(command, cwd=source, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "-Werror" not in done.stdout  # the compiler's command lines
    (archive,) = output.iterdir()
    return archive


@pytest.mark.slow
def test_wheel_from_the_source_archive(tmp_path):
    pytest.importorskip("setuptools")
    copy = tmp_path / "source"
    ignored = shutil.ignore_patterns("build", "dist", "*.egg-info", "*.so", "__pycache__")
    shutil.copytree(SOURCE, copy, ignore=ignored)
    sdist = made("sdist", copy, tmp_path / "sdist")
    with tarfile.open(sdist) as archive:
        archive.extractall(tmp_path, filter="data")
    unpacked = tmp_path / sdist.name.removesuffix(".tar.gz")
    for name in (
        "LICENSE",
        "README.md",
        "flags.py",
        "src/ops.h",
        "src/mean.cc",
        "tests/conftest.py",
        "examples/siman-camera.service",
    ):
        assert (unpacked / name).exists(), name
    if not (shutil.which("g++") or shutil.which("c++")):
        pytest.skip("there is no C++ compiler")
    wheel = made("wheel", unpacked, tmp_path / "wheel")
    assert "-py3-none-linux_" in wheel.name
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        (metadata,) = (archive.read(n).decode() for n in names if n.endswith("/METADATA"))
        (commands,) = (archive.read(n).decode() for n in names if n.endswith("entry_points.txt"))
    for name in (
        "libsiman_runtime.so",
        "py.typed",
        "self_test.tflite",
        "camera.html",
        "include/siman_runtime.h",
    ):
        assert f"siman_runtime/{name}" in names
    assert any(name.endswith("licenses/LICENSE") for name in names)
    assert "Project-URL: " in metadata
    assert "Requires-Dist: ai-edge-litert>=1.1.2\n" in metadata  # the self-test is the upper bound
    assert "Classifier: Programming Language :: Python :: 3.12" in metadata
    assert "siman-run" in commands
    assert "siman-bench" in commands
    assert "siman-camera" in commands


@pytest.mark.parametrize("value", ["", "1"])
def test_only_this_project_makes_errors_of_warnings(monkeypatch, value):
    monkeypatch.setenv("SIMAN_WERROR", value)
    flags = runpy.run_path(str(SOURCE / "flags.py"))["FLAGS"]
    assert ("-Werror" in flags) == bool(value)


def test_its_licence_is_the_project_s():
    above = SOURCE.parent / "LICENSE"
    if not above.exists():
        pytest.skip("tests outside the repository")
    assert (SOURCE / "LICENSE").read_bytes() == above.read_bytes()
