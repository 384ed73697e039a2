"""The C sources that were compiled when posttrain was installed; without them PyTorch does the same."""

from __future__ import annotations

import ctypes
import importlib.util
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

KERNELS = ("posttrain.core._tiles", "posttrain.models._layers", "posttrain.engines._decode")


def compiled_kernels(module: str) -> Path | None:
    """The file made of the C sources beside it; None where they were not compiled, one has changed since, or
    POSTTRAIN_KERNELS is off.
    """
    if os.environ.get("POSTTRAIN_KERNELS", "").lower() == "off":
        return None
    spec = importlib.util.find_spec(module)
    if spec is None or not spec.origin:
        return None
    file = Path(spec.origin)
    sources = [*file.parent.glob("*.c"), *file.parent.parent.glob("models/*.h")]
    made = file.stat().st_mtime
    return None if any(source.stat().st_mtime > made for source in sources) else file


def library(module: str, version: int, functions: Mapping[str, Sequence[Any]]) -> Any:
    """What was compiled, with the arguments of its functions; None where it is absent, cannot be loaded or is
    of another version. Torch is imported first: they share its threads.
    """
    file = compiled_kernels(module)
    if file is None:
        return None
    try:
        found = ctypes.CDLL(str(file))
        if found.posttrain_version() != version:
            return None
        for name, arguments in functions.items():
            getattr(found, name).argtypes = list(arguments)
    except (OSError, AttributeError):
        return None
    return found


def all_compiled() -> bool:
    """Whether every one is there."""
    return all(map(compiled_kernels, KERNELS))
