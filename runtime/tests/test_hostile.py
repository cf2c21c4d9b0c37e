"""A short form of the fuzz; the long one is `make sanitize`."""

import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.slow
def test_hostile_models_raise_or_run(kernel):
    fuzz = Path(__file__).with_name("fuzz.py")
    done = subprocess.run([sys.executable, str(fuzz), "1500", "9"], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "; 0 failed" in done.stdout
