"""What users install: built, outside the checkout, and every cure that a message prints.

`make packages` runs this, for some minutes and with a network; pytest does not collect it.
"""

import os
import re
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
VERSION = "0.1.0"

TRAIN = """
import numpy as np, tensorflow as tf
from siman_larq import ClipAnnealing, check_no_l2, convert, data, models, verify
mini = data.load("fashion_mnist_mini")
images = data.prepare(mini.train_images[:64])
model = models.resnet20(input_shape=(32, 32, 3), num_classes=10)
loss = tf.keras.losses.SparseCategoricalCrossentropy(from_logits=True)
model.compile("adam", loss, ["accuracy"])
check_no_l2(model)
model.fit(images, mini.train_labels[:64], verbose=0, callbacks=[ClipAnnealing(15.0)])
model.save("model.keras")
print("trained")
"""
CONVERT = """
import numpy as np, siman_larq, tensorflow as tf
model = tf.keras.models.load_model("model.keras")
report = siman_larq.verify(model, siman_larq.convert(model), np.zeros((2, 32, 32, 3), np.float32))
print(len(report.packed), "packed")
"""


class Environment:
    """A virtual environment, and a folder that is not the checkout."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        subprocess.run([sys.executable, "-m", "venv", folder / "venv"], check=True)
        hidden = ("PYTHONPATH", "TF_USE_LEGACY_KERAS", "VIRTUAL_ENV")
        self.variables = {k: v for k, v in os.environ.items() if k not in hidden}
        self.variables["PATH"] = f"{folder / 'venv/bin'}:{os.environ['PATH']}"
        self.variables |= {"TF_CPP_MIN_LOG_LEVEL": "3", "PIP_DISABLE_PIP_VERSION_CHECK": "1"}

    def run(self, command: str, **variables: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            command,
            shell=True,
            cwd=self.folder,
            env=self.variables | variables,
            capture_output=True,
            text=True,
        )

    def works(self, command: str) -> str:
        done = self.run(command)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def python(self, program: str) -> str:
        (self.folder / "program.py").write_text(program)
        return self.works("python program.py")

    def refused(self, program: str, **variables: str) -> str:
        """The sentence at the end of what a program that must fail prints."""
        (self.folder / "program.py").write_text(program)
        done = self.run("python program.py", **variables)
        assert done.returncode == 1
        return done.stderr.splitlines()[-1]

    def cured(self, message: str) -> None:
        """Does what a message says, to the letter."""
        [command] = re.findall(r"pip install [^;]*[^;.]", message)
        self.works(command)


@pytest.fixture(scope="module")
def archives(tmp_path_factory):
    folder = tmp_path_factory.mktemp("dist")
    subprocess.run([sys.executable, "-m", "build", "--outdir", folder, ROOT], check=True)
    return folder


def test_archives_are_whole(archives):
    with tarfile.open(archives / f"siman_larq-{VERSION}.tar.gz") as sdist:
        names = {name.partition("/")[2] for name in sdist.getnames()}
    for path in (
        "tests",
        "train",
        "siman_larq",
        "requirements",
        "tools",
        "benchmarks",
        "notebooks",
    ):
        for file in (ROOT / path).rglob("*"):
            if file.is_file() and "__pycache__" not in file.parts:
                assert str(file.relative_to(ROOT)) in names
    assert {"LICENSE", "Makefile", "siman_larq_cli.py"} <= names
    with zipfile.ZipFile(archives / f"siman_larq-{VERSION}-py3-none-any.whl") as wheel:
        names = set(wheel.namelist())
        metadata = wheel.read(f"siman_larq-{VERSION}.dist-info/METADATA").decode()
    for file in (ROOT / "siman_larq").rglob("*"):
        if file.is_file() and "__pycache__" not in file.parts:
            assert str(file.relative_to(ROOT)) in names
    assert "siman_larq_cli.py" in names
    assert not [name for name in names if name.startswith(("tests/", "train/"))]
    for line in (
        "Requires-Python: <3.13,>=3.10",
        "License-File: LICENSE",
        "Project-URL: Paper, https://arxiv.org/abs/2102.07981",
        "Classifier: Operating System :: MacOS",
        "Classifier: Programming Language :: Python :: 3.12",
        'Requires-Dist: larq-compute-engine==0.16.0; extra == "convert"',
        'Requires-Dist: tensorflow<2.20,>=2.15; extra == "tf"',
    ):
        assert line in metadata.splitlines()


def test_what_is_missing_and_its_cures(archives, tmp_path):
    """One environment for all, since TensorFlow is large."""
    fresh = Environment(tmp_path)
    fresh.works(f"pip install {archives}/*.whl")
    assert fresh.works("siman-larq --version") == f"siman-larq, version {VERSION}\n"
    assert "convert" in fresh.works("siman-larq --help")

    message = fresh.refused("import siman_larq")
    assert "TensorFlow 2.15 to 2.19, and none is installed" in message
    fresh.cured(message)
    assert fresh.python(TRAIN).splitlines()[-1] == "trained"

    message = fresh.refused(CONVERT)
    assert "needs larq-compute-engine" in message
    fresh.cured(message)
    assert fresh.python(CONVERT) == "18 packed\n"
    assert "18 of 18" in fresh.works("siman-larq convert model.keras -o model.tflite")

    fresh.works("pip install protobuf==4.25.8")
    message = fresh.refused("import siman_larq")
    assert "protobuf 3.20.3" in message
    fresh.cured(message)
    fresh.python("import siman_larq")

    message = fresh.refused("from tensorflow.keras import layers\nimport siman_larq")
    assert message.endswith("import siman_larq before tensorflow")
    fresh.python("import siman_larq\nfrom tensorflow.keras import layers")
    message = fresh.refused("import siman_larq", TF_USE_LEGACY_KERAS="0")
    assert message.endswith("unset TF_USE_LEGACY_KERAS, which is 0")

    fresh.works("pip uninstall --yes tf-keras")
    message = fresh.refused("import siman_larq")
    assert "Keras 3" in message
    fresh.cured(message)
    assert fresh.python(CONVERT) == "18 packed\n"
    assert fresh.works("python -m tensorboard.main --version_tb").startswith("2.")
