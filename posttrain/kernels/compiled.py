"""The C sources as they were compiled when posttrain was installed, once for each kind of processor: a path.

The widest that the processor has is used, or what POSTTRAIN_KERNELS says: ``off``, ``avx2``, ``avx512``,
``neon``. Without any PyTorch does the same up to rounding.
"""

from __future__ import annotations

import ctypes
import importlib.util
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from posttrain.kernels.processor import processor_features, processor_name

KERNELS = ("posttrain.kernels._tiles", "posttrain.kernels._layers", "posttrain.kernels._decode")
PATHS = {  # what a processor must have; the widest first
    "avx512": frozenset({"avx512f", "avx512bw", "avx512dq", "avx512vl", "avx2", "fma"}),
    "avx2": frozenset({"avx2", "fma"}),
    "neon": frozenset({"neon"}),
}
SETTING = "POSTTRAIN_KERNELS"


class NoSuchPath(ValueError):
    """What POSTTRAIN_KERNELS asks for cannot be had here."""


def compiled_file(module: str, path: str) -> Path | None:
    """The library of a module for this path; None where it was not compiled, or a source changed since."""
    spec = importlib.util.find_spec(f"{module}_{path}")
    if spec is None or not spec.origin:
        return None
    file = Path(spec.origin)
    sources = file.parent.glob("*.[ch]")
    made = file.stat().st_mtime
    return None if any(source.stat().st_mtime > made for source in sources) else file


def usable_paths() -> list[str]:
    """Those that this processor has and that were compiled whole, the widest first."""
    features = processor_features()
    return [
        path
        for path, needed in PATHS.items()
        if needed <= features and all(compiled_file(module, path) for module in KERNELS)
    ]


def kernel_path() -> str | None:
    """The path that is used; None is PyTorch.

    Raises NoSuchPath where POSTTRAIN_KERNELS asks for one that the processor or this installation lacks.
    """
    asked = os.environ.get(SETTING, "").lower()
    if asked == "off":
        return None
    usable = usable_paths()
    if not asked:
        return usable[0] if usable else None
    if asked not in PATHS:
        raise NoSuchPath(f"{SETTING}={asked}: expected off, {', '.join(PATHS)} or nothing")
    if missing := PATHS[asked] - processor_features():
        here = f"this processor ({processor_name()}) lacks {', '.join(sorted(missing))}"
        raise NoSuchPath(f"{SETTING}={asked}: {here}; {_instead(usable)}")
    if asked not in usable:
        raise NoSuchPath(
            f"{SETTING}={asked}: not compiled, or its sources have changed since; install posttrain again "
            f"where there is a C compiler; {_instead(usable)}"
        )
    return asked


def _instead(usable: Sequence[str]) -> str:
    return f"here there is {', '.join([*usable, 'off'])}"


def library(module: str, version: int, functions: Mapping[str, Sequence[Any]], path: str | None) -> Any:
    """What was compiled for a path, with the arguments of its functions; None where it is absent, cannot be
    loaded or is of another version, or the path is None. Torch is imported first: they share its threads.
    """
    file = None if path is None else compiled_file(module, path)
    if file is None:
        return None
    try:
        loaded = ctypes.CDLL(str(file))
        if loaded.posttrain_version() != version:
            return None
        for name, arguments in functions.items():
            getattr(loaded, name).argtypes = list(arguments)
    except (OSError, AttributeError):
        return None
    return loaded
