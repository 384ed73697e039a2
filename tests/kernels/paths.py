"""The ways to compute that this machine has: libraries for each kind of processor, and PyTorch (``off``)."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

from posttrain.kernels import decode, layers, tiles
from posttrain.kernels.compiled import SETTING, kernel_path, usable_paths

CHOSEN = kernel_path() or "off"  # what the suite was asked for, or the widest
COMPILED = usable_paths()
OTHERS = [path for path in (*COMPILED, "off") if path != CHOSEN]


@contextmanager
def computed_by(path: str) -> Iterator[None]:
    """Within, kernels are those of this path, as in a process that was started so."""
    before = os.environ.get(SETTING)
    os.environ[SETTING] = path
    _forget()
    try:
        yield
    finally:
        os.environ.pop(SETTING) if before is None else os.environ.update({SETTING: before})
        _forget()


def _forget() -> None:
    for loaded in (decode.decode_kernels, layers._library, tiles._library):
        loaded.cache_clear()
