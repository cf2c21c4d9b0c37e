"""Builds the wheels for x86-64 and aarch64, on either, with the compiler that PyPI ships.

`python -m ziglang c++` compiles for any glibc; 2.17 makes manylinux2014 wheels. Needs the packages
setuptools, wheel, ziglang and auditwheel.
"""

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parents[1]
GLIBC = "2.17"
MOST_BYTES = 1_000_000


def compiler(folder: Path, machine: str) -> str:
    """A script that stands for the compiler, since its call has several words."""
    script = folder / f"{machine}-c++"
    call = f'exec "{sys.executable}" -m ziglang c++ -target {machine}-linux-gnu.{GLIBC}'
    # Zig turns undefined behaviour into traps unless told not to; tests have a build with them.
    script.write_text(f'#!/bin/sh\n{call} -fno-sanitize=undefined "$@"\n')
    script.chmod(0o755)
    return str(script)


def build(machine: str, output: Path) -> Path:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        source = folder / "source"
        ignored = shutil.ignore_patterns("build", "dist", "*.egg-info", "*.so", "__pycache__")
        shutil.copytree(HERE, source, ignore=ignored)
        cxx = compiler(folder, machine)
        environment = os.environ | {
            "CC": cxx,
            "CXX": cxx,
            "LDSHARED": f"{cxx} -shared",
            "LDCXXSHARED": f"{cxx} -shared",
            "SIMAN_REQUIRE_LIBRARY": "1",
            "SIMAN_WERROR": "1",
            "_PYTHON_HOST_PLATFORM": f"linux-{machine}",
        }
        command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps"]
        command += ["--no-build-isolation", "--wheel-dir", name, str(source)]
        subprocess.run(command, check=True, env=environment)
        (built,) = folder.glob("*.whl")
        tag = f"manylinux_{GLIBC.replace('.', '_')}_{machine}.manylinux2014_{machine}"
        command = [sys.executable, "-m", "wheel", "tags", "--remove"]
        command += ["--platform-tag", tag, str(built)]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        (built,) = folder.glob("*.whl")
        shutil.copy(built, output)
        return output / built.name


def main() -> None:
    output = Path(sys.argv[1] if len(sys.argv) > 1 else HERE / "dist")
    output.mkdir(parents=True, exist_ok=True)
    for old in output.glob("siman_runtime-*.whl"):
        old.unlink()
    for machine in ("x86_64", "aarch64"):
        wheel = build(machine, output)
        size = wheel.stat().st_size
        print(f"{wheel} {size:,} bytes")
        shown = subprocess.run(
            [sys.executable, "-m", "auditwheel", "show", str(wheel)],
            check=True,
            capture_output=True,
            text=True,
        ).stdout
        if f"manylinux_{GLIBC.replace('.', '_')}_{machine}" not in shown:
            sys.exit(f"{wheel.name} is no manylinux_{GLIBC} wheel:\n{shown}")
        if size > MOST_BYTES:
            sys.exit(f"{wheel.name} has {size:,} bytes; at most {MOST_BYTES:,} are wanted")


if __name__ == "__main__":
    main()
