"""A benchmark asked for fewer instructions starts itself again, once, with all libraries kept to them."""

from __future__ import annotations

import importlib
import os
import sys
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture
def isa(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    return importlib.import_module("isa")


def test_it_starts_again_until_the_environment_is_so(
    isa: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    started = []
    monkeypatch.setattr(
        os, "execve", lambda program, words, environment: started.append((words, environment))
    )
    monkeypatch.setattr(sys, "argv", ["bench.py", "--isa", "avx2"])
    for name in isa.LIMITS["avx2"]:
        monkeypatch.delenv(name, raising=False)
    isa.limit_isa(None)
    assert started == []
    assert isa.current_isa() is None
    isa.limit_isa("avx2")
    ((words, environment),) = started
    assert words[1:] == ["bench.py", "--isa", "avx2"]
    assert environment["POSTTRAIN_KERNELS"] == "avx2"
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    isa.limit_isa("avx2")
    assert len(started) == 1
    assert isa.current_isa() == "avx2"
