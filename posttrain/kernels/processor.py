"""The processor's name, maker and features: from a file on Linux, from a command on macOS."""

from __future__ import annotations

import platform
import subprocess
from contextlib import suppress
from functools import cache
from pathlib import Path

CPUINFO = Path("/proc/cpuinfo")


@cache
def _fields() -> dict[str, str]:
    """What Linux says of the first processor; empty elsewhere."""
    if not CPUINFO.is_file():
        return {}
    first = CPUINFO.read_text("utf-8", "replace").strip().partition("\n\n")[0]
    pairs = (line.partition(":") for line in first.splitlines())
    return {name.strip(): value.strip() for name, _, value in pairs}


@cache
def _sysctl() -> list[str]:
    """What macOS says: the name, then on Intel's the features. Empty elsewhere."""
    names = ("brand_string", "features", "leaf7_features")
    if platform.system() == "Darwin":
        with suppress(OSError):
            command = ["sysctl", "-n", *(f"machdep.cpu.{name}" for name in names)]
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            return done.stdout.splitlines()
    return []


def processor_name() -> str:
    """The model's name."""
    names = [_fields().get("model name", ""), *_sysctl()[:1], platform.processor(), platform.machine()]
    return next(filter(None, names), "")


def processor_maker() -> str:
    """``intel``, ``amd``, or empty."""
    facts = f"{_fields().get('vendor_id', '')} {processor_name()} {platform.processor()}".lower()
    return next((maker for maker in ("intel", "amd") if maker in facts), "")


def processor_features() -> frozenset[str]:
    """Instruction sets by Linux's names (avx2, fma, avx512f, amx_bf16, ...); neon on every 64-bit ARM."""
    if platform.machine().lower() in ("arm64", "aarch64"):
        return frozenset({"neon"})
    return frozenset(" ".join([_fields().get("flags", ""), *_sysctl()[1:]]).lower().split())
