import platform
import subprocess
import sys

import pytest

KERNELS = {
    "x86_64": ["avx512", "avx512bw", "avx2", "portable"],
    "aarch64": ["neondot", "neon", "portable"],
}


def pytest_configure(config):
    config.addinivalue_line("markers", "slow: takes more than some seconds")


@pytest.fixture(scope="session")
def starts_python():
    """Skips tests of several processes where Python cannot start another, as it is emulated."""
    try:
        subprocess.run([sys.executable, "-c", ""], check=True)
    except (OSError, subprocess.CalledProcessError) as error:
        pytest.skip(str(error))


@pytest.fixture(params=KERNELS[platform.machine()])
def kernel(request, monkeypatch):
    """Each instruction set that runs here, in turn."""
    import siman_runtime

    monkeypatch.setenv("SIMAN_KERNEL", request.param)
    try:
        return siman_runtime.kernel_name()
    except siman_runtime.LibraryError as error:
        pytest.skip(str(error))
