"""Which of the compiled paths is taken: the widest that the processor has, or the one that is asked for."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from posttrain import cli
from posttrain.kernels import compiled, processor
from posttrain.kernels.compiled import NoSuchPath, compiled_file, kernel_path, usable_paths
from posttrain.pipeline.circumstances import versions

WIDEST = "fpu fma avx2 avx512f avx512bw avx512dq avx512vl"


@pytest.fixture(autouse=True)
def _as_told(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.delenv("POSTTRAIN_KERNELS", raising=False)
    for known in (processor._fields, processor._sysctl):
        known.cache_clear()
    yield
    monkeypatch.undo()
    for known in (processor._fields, processor._sysctl):
        known.cache_clear()


def on(
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    flags: str,
    maker: str = "GenuineIntel",
    machine: str = "x86_64",
) -> None:
    """As on Linux on such a processor, with everything compiled."""
    cpuinfo = tmp_path / "cpuinfo"
    one = f"processor : 0\nvendor_id : {maker}\nmodel name\t: {maker} \u00e9: 3\nflags\t\t: {flags}\n"
    cpuinfo.write_text(one + "\n" + one.replace("flags", "no flags"), "utf-8")
    monkeypatch.setattr(processor, "CPUINFO", cpuinfo)
    monkeypatch.setattr(processor.platform, "machine", lambda: machine)
    monkeypatch.setattr(compiled, "compiled_file", lambda module, path: Path("/made"))
    processor._fields.cache_clear()


@pytest.mark.parametrize(
    ("flags", "machine", "paths"),
    [
        (WIDEST, "x86_64", ["avx512", "avx2"]),
        (WIDEST.replace("avx512dq", ""), "x86_64", ["avx2"]),
        ("fpu sse2 fma avx2", "AMD64", ["avx2"]),
        ("fpu sse2 avx2", "x86_64", []),
        ("fp asimd", "aarch64", ["neon"]),
        ("", "arm64", ["neon"]),
    ],
)
def test_the_widest_that_the_processor_has_is_taken(
    flags: str, machine: str, paths: list[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    on(monkeypatch, tmp_path, flags, machine=machine)
    assert usable_paths() == paths
    assert kernel_path() == (paths or [None])[0]
    for path in paths:
        monkeypatch.setenv("POSTTRAIN_KERNELS", path.upper())
        assert kernel_path() == path
        assert versions()["kernels"] == path
    monkeypatch.setenv("POSTTRAIN_KERNELS", "off")
    assert kernel_path() is None
    assert versions()["kernels"] == "PyTorch"


def test_a_path_that_cannot_be_had_is_an_error_that_says_why(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    on(monkeypatch, tmp_path, "fma avx2 avx512f avx512bw avx512dq")
    monkeypatch.setenv("POSTTRAIN_KERNELS", "avx512")
    with pytest.raises(NoSuchPath, match=r"GenuineIntel é: 3\) lacks avx512vl; here there is avx2, off"):
        kernel_path()
    assert cli.main(["list"]) == 2
    assert "posttrain: POSTTRAIN_KERNELS=avx512: this processor" in capsys.readouterr().err
    monkeypatch.setenv("POSTTRAIN_KERNELS", "on")
    with pytest.raises(NoSuchPath, match="expected off, avx512, avx2, neon"):
        kernel_path()
    monkeypatch.setattr(compiled, "compiled_file", lambda module, path: None)
    monkeypatch.setenv("POSTTRAIN_KERNELS", "avx2")
    with pytest.raises(
        NoSuchPath, match="not compiled, or its sources have changed since; install posttrain again"
    ):
        kernel_path()
    monkeypatch.delenv("POSTTRAIN_KERNELS")
    assert kernel_path() is None


def test_a_path_of_which_a_part_is_missing_is_not_taken(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    on(monkeypatch, tmp_path, WIDEST)
    there = lambda module, path: None if (module, path) == (compiled.KERNELS[1], "avx512") else Path("/made")  # noqa: E731
    monkeypatch.setattr(compiled, "compiled_file", there)
    assert kernel_path() == "avx2"


@pytest.mark.parametrize(
    ("vendor", "maker"), [("AuthenticAMD", "amd"), ("GenuineIntel", "intel"), ("ARM", "")]
)
def test_the_maker_is_what_linux_or_the_platform_says(
    vendor: str, maker: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    on(monkeypatch, tmp_path, "", vendor)
    assert processor.processor_maker() == maker
    assert processor.processor_name() == f"{vendor} é: 3"
    processor.CPUINFO.unlink()
    processor._fields.cache_clear()
    monkeypatch.setattr(processor.platform, "processor", lambda: f"x86 Family 25 Model 1, {vendor}")
    assert processor.processor_maker() == maker


def test_macos_says_it_by_a_command(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(processor, "CPUINFO", tmp_path / "none")
    monkeypatch.setattr(processor.platform, "system", lambda: "Darwin")
    monkeypatch.setattr(processor.platform, "machine", lambda: "x86_64")
    told = "Intel(R) Core(TM) i7 CPU @ 2.60GHz\nFPU SSE4.2 FMA AVX1.0\nBMI1 AVX2 AVX512F\n"
    monkeypatch.setattr(processor.subprocess, "run", lambda *_, **__: SimpleNamespace(stdout=told))
    assert processor.processor_maker() == "intel"
    assert processor.processor_features() >= {"fma", "avx2", "avx512f"}
    processor._sysctl.cache_clear()

    def absent(*_: object, **__: object) -> None:
        raise FileNotFoundError

    monkeypatch.setattr(processor.subprocess, "run", absent)
    assert processor.processor_features() == frozenset()


def test_a_file_older_than_its_source_is_not_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file, source = tmp_path / "_decode_avx2.so", tmp_path / "decode.c"
    for made in (file, source):
        made.touch()
    monkeypatch.setattr(
        "posttrain.kernels.compiled.importlib.util.find_spec",
        lambda name: SimpleNamespace(origin=str(file)) if name.endswith("._decode_avx2") else None,
    )
    os.utime(source, (1e9, 1e9))
    assert compiled_file("posttrain.kernels._decode", "avx2") == file
    assert compiled_file("posttrain.kernels._decode", "avx512") is None
    os.utime(source, (4e9, 4e9))
    assert compiled_file("posttrain.kernels._decode", "avx2") is None
    source.unlink()  # as in a wheel
    assert compiled_file("posttrain.kernels._decode", "avx2") == file


def test_this_machine_says_what_it_is() -> None:
    assert processor.processor_name()
    if subprocess.run(["grep", "-qw", "avx2", "/proc/cpuinfo"], capture_output=True).returncode == 0:
        assert {"avx2", "fma"} <= processor.processor_features()
