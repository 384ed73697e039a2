"""What made.json says of the circumstances: time, versions, memory."""

from __future__ import annotations

import os
import platform
import resource
import sys
from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

from posttrain import __version__
from posttrain.kernels.compiled import kernel_path
from posttrain.pipeline.files import alive

REPORTED_VERSIONS = ("torch", "transformers", "tokenizers", "numpy")


def now() -> str:
    """UTC, ISO 8601, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def process() -> dict[str, str | int]:
    """Which one this is: its number, its machine, and when it began, since numbers are used again."""
    return {"number": os.getpid(), "machine": platform.node(), "began": _began(os.getpid())}


def ended(record: Mapping[str, Any]) -> bool:
    """Whether a process (``process``) is there no more; False where that cannot be known here."""
    number = record.get("number")
    if type(number) is not int or record.get("machine") != platform.node():
        return False
    return not alive(number) or _began(number) != record.get("began")


def standing(record: Mapping[str, Any]) -> str:
    """The status of a run's record; ``killed`` where it says that it runs and its process is gone."""
    status = str(record.get("status", "?"))
    return "killed" if status == "running" and ended(record.get("process", {})) else status


def _began(number: int) -> str:
    """In ticks of the machine since it was started; empty where the system does not tell."""
    with suppress(OSError, IndexError):
        return Path(f"/proc/{number}/stat").read_text().rpartition(")")[2].split()[19]
    return ""


def versions() -> dict[str, str]:
    """Of this package, Python and what computes; nothing is imported."""
    by_name = {"posttrain": __version__, "python": platform.python_version(), "platform": platform.platform()}
    for name in REPORTED_VERSIONS:
        with suppress(metadata.PackageNotFoundError):
            by_name[name] = metadata.version(name)
    by_name["kernels"] = kernel_path() or "PyTorch"
    return by_name


def computing(speed: Callable[[], float] | None) -> dict[str, float | int]:
    """What the speed of float32 matrix products was, where PyTorch was needed at all: a time is work only
    beside the speed of the machine that took it.
    """
    if speed is None or "torch" not in sys.modules:
        return {}
    return {"gflops": round(speed() / 1e9, 1), "threads": int(sys.modules["torch"].get_num_threads())}


def reset_peak() -> int:
    """Bytes held now. Linux keeps a high-water mark that can be set back; elsewhere the peak is that of the
    whole process, and what is held now is not known: 0.
    """
    with suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")
        return peak()
    return 0


def peak() -> int:
    """Most bytes held since ``reset_peak``."""
    with suppress(OSError):
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most if sys.platform == "darwin" else most * 1024
