"""TensorBoard starts where siman-larq is installed: it imports pkg_resources, which is going."""

import re
import subprocess
import sys
import urllib.request

import pytest


@pytest.mark.slow
def test_it_serves_a_run_folder(tmp_path):
    command = [sys.executable, "-m", "tensorboard.main", "--logdir", str(tmp_path), "--port", "0"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as server:
        try:
            said = []
            for line in server.stderr:
                said.append(line)
                if address := re.search(r"http://\S+", line):
                    break
            else:
                pytest.fail("".join(said))
            with urllib.request.urlopen(address[0] + "data/environment") as answer:
                assert str(tmp_path) in answer.read().decode()
        finally:
            server.kill()
