"""Builds the native library; all else is in setup.cfg.

The library is no Python module: it is loaded by its path. So one wheel serves every Python, and
no Python headers are needed.
"""

import os
import platform
import sys
from pathlib import Path

from setuptools import Distribution, Extension, setup
from setuptools.command.bdist_wheel import bdist_wheel
from setuptools.command.build_ext import build_ext

sys.path.insert(0, str(Path(__file__).parent))

from flags import FLAGS, FLAGS_OF


class BuildLibrary(build_ext):
    def get_ext_filename(self, fullname: str) -> str:
        suffix = ".dylib" if self._is_for_mac() else ".so"
        return str(Path(*fullname.split(".")).with_suffix(suffix))

    def _is_for_mac(self) -> bool:
        return self.plat_name.startswith("macosx")

    def build_extension(self, ext: Extension) -> None:
        is_x86 = "x86_64" in self.plat_name or "amd64" in self.plat_name
        objects = []
        for source in ext.sources:
            extra = FLAGS_OF.get(Path(source).stem, []) if is_x86 else []
            objects += self.compiler.compile(
                [source], output_dir=self.build_temp, extra_postargs=FLAGS + extra
            )
        self.compiler.link_shared_object(
            objects,
            self.get_ext_fullpath(ext.name),
            # Without symbols, but for those that are public.
            extra_postargs=["-pthread", "-Wl,-x" if self._is_for_mac() else "-Wl,-s"],
            target_lang="c++",
        )


class AnyPython(bdist_wheel):
    def finalize_options(self) -> None:
        super().finalize_options()
        self.root_is_pure = False

    def get_tag(self) -> "tuple[str, str, str]":
        return "py3", "none", super().get_tag()[2]


class WithLibrary(Distribution):
    def has_ext_modules(self) -> bool:
        return True


if sys.platform == "darwin" and platform.machine() == "arm64":
    os.environ.setdefault("ARCHFLAGS", "-arch arm64")  # not for Intel's, too, as Python itself is
elif not sys.platform.startswith("linux"):
    raise SystemExit(
        "siman-runtime runs on Linux, and on macOS with Apple's processors; elsewhere use "
        "larq-compute-engine's own wheels."
    )

setup(
    distclass=WithLibrary,
    cmdclass={"build_ext": BuildLibrary, "bdist_wheel": AnyPython},
    ext_modules=[
        # Optional: without a compiler the package installs, and says on import what to do.
        Extension(
            "siman_runtime.libsiman_runtime",
            sources=sorted(str(path) for path in Path("src").glob("*.cc")),
            depends=[*map(str, Path("src").glob("*.h")), "siman_runtime/include/siman_runtime.h"],
            language="c++",
            optional="SIMAN_REQUIRE_LIBRARY" not in os.environ,
        )
    ],
)
