"""The C sources become one library for each kind of processor; kernels/compiled.py chooses when it runs.

Without a compiler, or where it lacks an option, what cannot be made is left out and PyTorch does the same.
On Linux GCC's OpenMP is that of PyTorch, so both share their threads. Other compilers have another, and two
in a process may abort it, so with them the libraries have one thread.
"""

from __future__ import annotations

import os
import platform
import sys
import tempfile
from pathlib import Path

from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext

MACHINE = platform.machine().lower()
# GCC makes no vectors of a choice by a comparison where floating point may trap, but with AVX-512.
OPTIONS = ["-O3", "-std=gnu11", "-fno-math-errno", "-fno-trapping-math", "-Wno-psabi"]
AVX2 = ["-mavx2", "-mfma"]
AVX512 = [*AVX2, "-mavx512f", "-mavx512bw", "-mavx512dq", "-mavx512vl"]
FLAGS: dict[str, dict[str, list[str]]] = {
    "x86_64": {"avx2": AVX2, "avx512": AVX512},
    "amd64": {"avx2": AVX2, "avx512": AVX512},
    "arm64": {"neon": []},
    "aarch64": {"neon": []},
}
SOURCES = {
    "posttrain.kernels._tiles": ["posttrain/kernels/tiles.c"],
    "posttrain.kernels._layers": ["posttrain/kernels/layers.c"],
    "posttrain.kernels._decode": ["posttrain/kernels/decode.c", "posttrain/kernels/packed_matmul.c"],
}
# compiled.py takes no library that is older than any source beside it, so a change of one makes all again.
EVERY_SOURCE = sorted(path.as_posix() for path in Path("posttrain/kernels").glob("*.[ch]"))
THREADS = """
#if defined(__clang__)
#error "its OpenMP is not PyTorch's"
#endif
#include <omp.h>
int main(void) { return omp_get_max_threads(); }
"""

if (
    sys.platform == "darwin"
):  # for this processor alone: a library of two kinds would need the options of both
    os.environ.setdefault("ARCHFLAGS", f"-arch {platform.machine()}")


class BuildKernels(build_ext):
    def build_extensions(self) -> None:
        options = next((one for one in ("-fopenmp", "-fopenmp-simd") if self._takes(one)), "-O3")
        for extension in self.extensions:
            extension.extra_compile_args.append(options)
            extension.extra_link_args = ["-fopenmp"] if options == "-fopenmp" else []
        super().build_extensions()

    def _takes(self, option: str) -> bool:
        program = THREADS if option == "-fopenmp" else "int main(void) { return 0; }\n"
        with tempfile.TemporaryDirectory() as where:
            source = Path(where) / "probe.c"
            source.write_text(program)
            try:
                made = self.compiler.compile([str(source)], output_dir=where, extra_preargs=[option])
                self.compiler.link_executable(made, "probe", output_dir=where, extra_preargs=[option])
            except Exception:  # each compiler's own kind: CompileError, LinkError, or that there is none
                return False
        return True


if __name__ == "__main__":
    setup(
        cmdclass={"build_ext": BuildKernels},
        ext_modules=[
            Extension(
                f"{module}_{path}",
                sources,
                extra_compile_args=[*OPTIONS, *flags],
                libraries=["m"],
                depends=EVERY_SOURCE,
                optional=True,
            )
            for path, flags in FLAGS.get(MACHINE, {}).items()
            for module, sources in SOURCES.items()
        ],
    )
