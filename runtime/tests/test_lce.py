"""Bit equality with Larq Compute Engine's interpreter, where it is installed."""

import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent


@pytest.mark.slow
def test_500_ops_and_60_networks_equal_lce(tmp_path_factory):
    pytest.importorskip("larq_compute_engine")
    import os

    path = Path(os.environ.get("SIMAN_CASES") or tmp_path_factory.mktemp("cases") / "cases.npz")
    if not path.exists():
        subprocess.run([sys.executable, str(HERE / "make_cases.py"), str(path)], check=True)
    for kernel, threads in (
        ("avx512", "1"),
        ("avx512bw", "2"),
        ("avx2", "1"),
        ("portable", "3"),
        ("", "2"),
    ):
        environment = os.environ | {"SIMAN_KERNEL": kernel}
        command = [sys.executable, str(HERE / "replay.py"), str(path), threads]
        done = subprocess.run(command, env=environment, capture_output=True, text=True)
        if "does not run on this processor" in done.stderr:
            continue
        assert done.returncode == 0, done.stdout + done.stderr
        assert "500 single, 60 network models, 0 differ" in done.stdout
