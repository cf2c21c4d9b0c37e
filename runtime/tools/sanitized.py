"""Builds the library with AddressSanitizer and UBSan, by g++, into the folder that is named."""

import os
import platform
import subprocess
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from flags import FLAGS, FLAGS_OF

HERE = Path(__file__).resolve().parents[1]
SANITIZERS = ["-fsanitize=address,undefined", "-fno-sanitize-recover=undefined", "-g", "-O1"]


def main() -> None:
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    compiler = os.environ.get("CXX", "g++")
    is_x86 = platform.machine() == "x86_64"
    objects = []
    for source in sorted((HERE / "src").glob("*.cc")):
        extra = FLAGS_OF.get(source.stem, []) if is_x86 else []
        objects.append(str(folder / f"{source.stem}.o"))
        command = [
            compiler,
            *FLAGS,
            "-Werror",
            *extra,
            *SANITIZERS,
            "-c",
            str(source),
            "-o",
            objects[-1],
        ]
        subprocess.run(command, check=True)
    output = str(folder / "libsiman_runtime.so")
    command = [compiler, "-fsanitize=address,undefined", "-shared", "-o", output, *objects]
    subprocess.run(command, check=True)


if __name__ == "__main__":
    main()
