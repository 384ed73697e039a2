"""The device that computes: the requested one, or the fastest that this machine has."""

from __future__ import annotations

import re
import sys

from posttrain.pipeline.finding import UserError

DEVICE_HELP = "cpu, cuda, cuda:1, mps, or auto: the first of cuda, mps and cpu that is here (default: cpu)"


def device(name: str) -> str:
    """``cpu``, ``mps``, ``cuda`` or ``cuda:1`` as requested; for ``auto`` the first usable of cuda, mps, cpu.

    One line on the standard error names the choice, or says that the CPU replaces a missing device. Raises
    UserError for any other name.
    """
    if not re.fullmatch(r"auto|cpu|mps|cuda(:\d+)?", name):
        raise UserError(f"--device {name}: expected auto, cpu, mps, cuda or cuda:1")
    if name == "cpu":
        return name
    if name != "auto":
        if _usable(name):
            return name
        return _announced("cpu", f"there is no {name} here; going on with the CPU")
    for kind in ("cuda", "mps"):
        if _usable(kind):
            return _announced(kind, f"--device auto: {kind} ({_described(kind)})")
    return _announced("cpu", "--device auto: cpu; there is no CUDA GPU and no mps here")


def _announced(chosen: str, line: str) -> str:
    print(f"posttrain: {line}", file=sys.stderr)
    return chosen


def _usable(name: str) -> bool:
    """Whether PyTorch can compute on it: with a driver that is too old the first number fails."""
    import torch

    if name == "mps":
        present = torch.backends.mps.is_available()
    else:
        present = torch.cuda.device_count() > int(name.partition(":")[2] or 0)
    if not present:
        return False
    try:
        return float(torch.ones(2, device=name).sum()) == 2.0
    except RuntimeError:
        return False


def _described(name: str) -> str:
    import torch

    if name == "mps":
        return "Apple's GPU"
    facts = torch.cuda.get_device_properties(0)
    return f"{facts.name}, {facts.total_memory / 2**30:.0f} GiB"
