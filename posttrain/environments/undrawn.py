"""Games that are played and not looked at."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from types import ModuleType
from typing import Any

DRAWING = ("pygame", "pygame.gfxdraw")


@contextmanager
def undrawn() -> Iterator[None]:
    """Within it gymnasium's Box2D games can be imported where pygame is not installed.

    They import pygame at the top of a file and use it to draw only; its licence is the LGPL, so no extra
    of ours installs it. An empty module stands in, and is gone again afterwards.
    """
    missing = () if find_spec(DRAWING[0]) else DRAWING
    if missing:
        pygame: Any = ModuleType(DRAWING[0])
        pygame.gfxdraw = ModuleType(DRAWING[1])
        sys.modules |= {DRAWING[0]: pygame, DRAWING[1]: pygame.gfxdraw}
    try:
        yield
    finally:
        for name in missing:
            del sys.modules[name]
