"""What the doctor says of the machine: how fast it multiplies, and which compiled code it uses."""

from __future__ import annotations

import re

import pytest

from posttrain.checks import machine
from posttrain.kernels import decode
from posttrain.kernels.compiled import usable_paths


def test_the_speed_that_times_are_stated_at_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "speed", lambda device: 193.4e9)
    monkeypatch.setattr(machine, "_of_product", lambda device, dtype: 2 * 193.4e9)
    evidence = machine.computes("cpu").evidence
    assert "193 GFLOP/s of float32 matrix products" in evidence
    assert evidence.endswith("products in bfloat16 (--compute) 2.0 times as fast as in float32")


@pytest.mark.parametrize("path", [*usable_paths(), "off"])
def test_what_is_used_stands_beside_what_could_be(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("POSTTRAIN_KERNELS", path)
    found = machine.kernels()
    assert found.value == path
    assert found.evidence.startswith("PyTorch alone" if path == "off" else f"{path};")
    timed = dict(re.findall(r"(\w+) ([\d.]+) ms", found.evidence))
    assert list(timed) == [*usable_paths(), "off"]
    assert all(0 < float(milliseconds) < 1e3 for milliseconds in timed.values())


def test_where_nothing_was_compiled_it_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("posttrain.checks.machine", "posttrain.kernels.compiled"):
        monkeypatch.setattr(f"{module}.usable_paths", lambda: [])
    monkeypatch.delenv("POSTTRAIN_KERNELS", raising=False)
    assert "nothing was compiled for this processor; install posttrain again" in machine.kernels().evidence


@pytest.mark.skipif(not usable_paths(), reason="nothing was compiled")
def test_one_thread_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("POSTTRAIN_KERNELS", raising=False)
    plain = decode.DecodeKernels.__init__

    def alone(kernels: decode.DecodeKernels, *more: object) -> None:
        plain(kernels, *more)
        kernels.threaded = False

    monkeypatch.setattr(decode.DecodeKernels, "__init__", alone)
    evidence = machine.kernels().evidence
    assert f"{usable_paths()[0]} on one thread, products by PyTorch: it was compiled without" in evidence
