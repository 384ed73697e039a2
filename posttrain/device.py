"""Which device computes: as asked, or the fastest that is here."""

from __future__ import annotations

import re
import sys

from posttrain.pipeline.finding import UserError

DEVICE_HELP = "cpu, cuda, cuda:1, mps, or auto: the first of cuda, mps and cpu that is here (default: cpu)"


def device(name: str) -> str:
    """``cpu``, ``mps``, ``cuda`` or ``cuda:1`` as asked, or for ``auto`` the first that is here of cuda, mps
    and cpu. One line on the standard error says what was found, or that the CPU takes the place of a device
    that is not here. Raises UserError for any other name.
    """
    if not re.fullmatch(r"auto|cpu|mps|cuda(:\d+)?", name):
        raise UserError(f"--device {name}: expected auto, cpu, mps, cuda or cuda:1")
    if name == "cpu":
        return name
    if name != "auto":
        if _there(name):
            return name
        return _told("cpu", f"there is no {name} here; going on with the CPU")
    for found in ("cuda", "mps"):
        if _there(found):
            return _told(found, f"--device auto: {found} ({_described(found)})")
    return _told("cpu", "--device auto: cpu; there is no CUDA GPU and no mps here")


def _told(found: str, line: str) -> str:
    print(f"posttrain: {line}", file=sys.stderr)
    return found


def _there(name: str) -> bool:
    """Whether PyTorch can compute on it: with a driver that is too old the first number fails."""
    import torch

    if name == "mps":
        there = torch.backends.mps.is_available()
    else:
        there = torch.cuda.device_count() > int(name.partition(":")[2] or 0)
    if not there:
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
