"""Builds the wheels for Linux on x86-64 and aarch64, or those named, on either, with the compiler
that PyPI ships.

    python runtime/tools/wheels.py runtime/dist [x86_64] [aarch64] [macos]

`python -m ziglang c++` compiles for any glibc, of which 2.17 makes manylinux2014 wheels, and for
macOS on Apple's processors, where nothing has been tested. Needs the packages setuptools, wheel,
ziglang and auditwheel.
"""

import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path
from typing import NamedTuple

from mach_o import fault

HERE = Path(__file__).resolve().parents[1]
GLIBC = "2.17"
MACOS = "11.0"  # the first on Apple's processors
MOST_BYTES = 1_000_000


class Target(NamedTuple):
    """What a wheel is for: as Zig, as Python and as pip name it."""

    compiled: str
    platform: str
    tag: str


def linux(machine: str) -> Target:
    tag = f"manylinux_{GLIBC.replace('.', '_')}_{machine}.manylinux2014_{machine}"
    return Target(f"{machine}-linux-gnu.{GLIBC}", f"linux-{machine}", tag)


TARGETS = {
    "x86_64": linux("x86_64"),
    "aarch64": linux("aarch64"),
    "macos": Target(
        f"aarch64-macos.{MACOS}", f"macosx-{MACOS}-arm64", f"macosx_{MACOS.replace('.', '_')}_arm64"
    ),
}


def compiler(folder: Path, target: Target) -> str:
    """A script that stands for the compiler, since its call has several words."""
    script = folder / "c++"
    call = f'exec "{sys.executable}" -m ziglang c++ -target {target.compiled}'
    # Zig turns undefined behaviour into traps unless told not to; tests have a build with them.
    script.write_text(f'#!/bin/sh\n{call} -fno-sanitize=undefined "$@"\n')
    script.chmod(0o755)
    return str(script)


def build(target: Target, output: Path) -> Path:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        source = folder / "source"
        ignored = shutil.ignore_patterns("build", "dist", "*.egg-info", "*.so", "__pycache__")
        shutil.copytree(HERE, source, ignore=ignored)
        cxx = compiler(folder, target)
        environment = os.environ | {
            "CC": cxx,
            "CXX": cxx,
            "LDSHARED": f"{cxx} -shared",
            "LDCXXSHARED": f"{cxx} -shared",
            "SIMAN_REQUIRE_LIBRARY": "1",
            "SIMAN_WERROR": "1",
            "_PYTHON_HOST_PLATFORM": target.platform,
        }
        command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps"]
        command += ["--no-build-isolation", "--wheel-dir", name, str(source)]
        subprocess.run(command, check=True, env=environment)
        (built,) = folder.glob("*.whl")
        command = [sys.executable, "-m", "wheel", "tags", "--remove"]
        command += ["--platform-tag", target.tag, str(built)]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        (built,) = folder.glob("*.whl")
        shutil.copy(built, output)
        return output / built.name


def check(wheel: Path, target: Target) -> None:
    """Ends the program if a wheel is not what its name says, or large."""
    size = wheel.stat().st_size
    print(f"{wheel} {size:,} bytes")
    if size > MOST_BYTES:
        sys.exit(f"{wheel.name} has {size:,} bytes; at most {MOST_BYTES:,} are wanted")
    if target is TARGETS["macos"]:
        with zipfile.ZipFile(wheel) as archive:
            found = fault(archive.read("siman_runtime/libsiman_runtime.dylib"), MACOS)
        if found:
            sys.exit(f"{wheel.name} does not run on macOS {MACOS}: its library {found}")
        return
    command = [sys.executable, "-m", "auditwheel", "show", str(wheel)]
    shown = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    if target.tag.partition(".")[0] not in shown:
        sys.exit(f"{wheel.name} is no manylinux_{GLIBC} wheel:\n{shown}")


def main() -> None:
    output = Path(sys.argv[1] if len(sys.argv) > 1 else HERE / "dist")
    names = sys.argv[2:] or ["x86_64", "aarch64"]
    if unknown := set(names) - set(TARGETS):
        sys.exit(f"{', '.join(sorted(unknown))}: wheels are made for {', '.join(TARGETS)}")
    output.mkdir(parents=True, exist_ok=True)
    for target in (TARGETS[name] for name in names):
        for old in output.glob(f"siman_runtime-*{target.tag}.whl"):
            old.unlink()
        check(build(target, output), target)


if __name__ == "__main__":
    main()
