"""What every test starts from."""

import subprocess
import sys
from pathlib import Path

import siman_larq  # noqa: F401  (before Larq, which needs the Keras 2 that this sets up)

# isort: split
import larq as lq
import pytest
import tensorflow as tf
from hypothesis import settings

ROOT = Path(__file__).parents[1]

settings.register_profile("siman", deadline=None, derandomize=True, max_examples=25)
settings.load_profile("siman")

# For MirroredStrategy; must come before TensorFlow makes its devices.
tf.config.set_logical_device_configuration(
    tf.config.list_physical_devices("CPU")[0], [tf.config.LogicalDeviceConfiguration()] * 2
)


@pytest.fixture(autouse=True)
def _fresh_state():
    tf.keras.utils.set_random_seed(0)
    # Larq leaves its scope on when a layer raises inside it.
    with lq.context.quantized_scope(False):
        yield
    tf.keras.mixed_precision.set_global_policy("float32")


@pytest.fixture(scope="session")
def photos(tmp_path_factory):
    """The data set that tools/make_photos.py writes, in small."""
    folder = tmp_path_factory.mktemp("data")
    tool = [sys.executable, str(ROOT / "tools/make_photos.py"), "--output", str(folder)]
    counts = ["--per-class", "6", "--test-per-class", "2", "--shards", "3"]
    subprocess.run([*tool, *counts], check=True, capture_output=True)
    return folder
