"""The C sources build with each compiler that is here, for each processor, and compute what they must."""

from __future__ import annotations

import ctypes
import os
import platform
import runpy
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from posttrain.kernels.compiled import KERNELS, PATHS
from posttrain.kernels.processor import processor_features

ROOT = Path(__file__).resolve().parent.parent.parent
SETUP = runpy.run_path(str(ROOT / "setup.py"), run_name="tests")
FLAGS: dict[str, list[str]] = SETUP["FLAGS"].get(platform.machine().lower(), {})
COMPILERS = ("gcc", "clang")
SELF_TEST = ROOT / "tests" / "kernels" / "self_test.c"
pytestmark = pytest.mark.slow


def compiled_and_run(
    where: Path, compiler: str, flags: list[str], link: list[str], runner: list[str]
) -> None:
    """The self-test linked with all sources; each has its own version, whose name would be there twice."""
    objects = []
    for source in (source for sources in SETUP["SOURCES"].values() for source in sources):
        made = where / f"{Path(source).stem}.o"
        name = f"-Dposttrain_version=version_of_{made.stem}"
        more = ["-fopenmp-simd", name, "-c", str(ROOT / source), "-o", str(made)]
        subprocess.run([compiler, *SETUP["OPTIONS"], *flags, *more], check=True)
        objects.append(str(made))
    program = str(where / "self_test")
    subprocess.run([compiler, "-O1", str(SELF_TEST), *objects, *link, "-lm", "-o", program], check=True)
    done = subprocess.run([*runner, program], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "0 of the results are wrong\n")


@pytest.mark.parametrize("path", FLAGS)
@pytest.mark.parametrize("compiler", COMPILERS)
def test_each_compiler_makes_every_path(compiler: str, path: str, tmp_path: Path) -> None:
    if shutil.which(compiler) is None:
        pytest.skip(f"no {compiler}")
    if not PATHS[path] <= processor_features():
        pytest.skip(f"no {path}")
    compiled_and_run(tmp_path, compiler, FLAGS[path], [], [])


def test_neon_under_an_emulator(tmp_path: Path) -> None:
    compiler, emulator = "aarch64-linux-gnu-gcc", "qemu-aarch64"
    if shutil.which(compiler) is None or shutil.which(emulator) is None:
        pytest.skip(f"no {compiler} or no {emulator}")
    compiled_and_run(tmp_path, compiler, SETUP["FLAGS"]["aarch64"]["neon"], ["-static"], [emulator])


def installed(where: Path, compiler: str) -> dict[str, Any]:
    """What setup.py makes with a compiler, by the name of the module."""
    command = [sys.executable, "setup.py", "-q", "build_ext", "--build-lib", "lib", "--build-temp", "temp"]
    for name in ("setup.py", "pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, where)
    shutil.copytree(ROOT / "posttrain", where / "posttrain", ignore=shutil.ignore_patterns("*.so", "base"))
    subprocess.run(command, cwd=where, env=os.environ | {"CC": compiler}, check=True, capture_output=True)
    files = (where / "lib").rglob("*.so")
    return {".".join(file.relative_to(where / "lib").parts).partition(".cpython")[0]: file for file in files}


@pytest.mark.parametrize("compiler", COMPILERS)
def test_the_package_builds_with_openmp_or_without(compiler: str, tmp_path: Path) -> None:
    if shutil.which(compiler) is None:
        pytest.skip(f"no {compiler}")
    made = installed(tmp_path, compiler)
    assert made.keys() == {f"{module}_{path}" for module in KERNELS for path in FLAGS}
    for path in FLAGS:
        decode = ctypes.CDLL(str(made[f"posttrain.kernels._decode_{path}"]))
        assert decode.posttrain_threaded() == (compiler == "gcc")


def test_without_a_compiler_the_package_installs_and_has_no_kernels(tmp_path: Path) -> None:
    assert installed(tmp_path, "no-such-compiler") == {}
