"""Compiles the native library's sources, for tools that make it without setuptools."""

import subprocess
from pathlib import Path
from typing import Any

from flags import FLAGS, FLAGS_OF

__all__ = ["HERE", "SOURCES", "compiled"]

HERE = Path(__file__).resolve().parents[1]
SOURCES = sorted((HERE / "src").glob("*.cc"))


def compiled(
    compiler: Any, sources: "list[Path]", folder: Path, is_x86: bool, *options: str
) -> "list[str]":
    """The object files of sources, each with the flags of its instruction set.

    # Arguments
        compiler: The command of a C++ compiler.
        sources: What is compiled.
        folder: Where the object files go.
        is_x86: Whether they are for x86-64.
        options: Come last.
    """
    objects = []
    for source in sources:
        extra = FLAGS_OF.get(source.stem, []) if is_x86 else []
        objects.append(str(folder / f"{source.stem}.o"))
        command = [compiler, *FLAGS, *extra, *options, "-c", source, "-o", objects[-1]]
        subprocess.run(command, check=True)
    return objects
