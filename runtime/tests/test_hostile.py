"""A short form of the fuzz; the long one is `make sanitize`."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from tflite_models import FLOAT, Builder, Convolution

from siman_runtime import Interpreter


@pytest.mark.parametrize("axes", [[2**31 - 1], [2**31 - 2, 2**31 - 1], [-(2**31)]])
def test_means_along_axes_that_are_none(axes):
    b, op = Builder(), Convolution(height=4, width=4, channels=32, filters=32)
    x = b.tensor(op.shape, FLOAT)
    constant = b.constant(np.array(axes, np.int32))
    y = b.builtin("MEAN", [x, constant], op.shape, "ReducerOptions", keepDims=True)
    with pytest.raises((RuntimeError, ValueError)):
        Interpreter(b.build([x], [op.append(b, y)]))


@pytest.mark.slow
def test_hostile_models_raise_or_run(kernel):
    fuzz = Path(__file__).with_name("fuzz.py")
    done = subprocess.run([sys.executable, str(fuzz), "1500", "9"], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "; 0 failed" in done.stdout
