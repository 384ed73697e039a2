"""Settings that would have no meaning are refused by name. A setting that is None is left alone."""

from __future__ import annotations

import math
from typing import Any


def above_zero(settings: Any, *names: str) -> None:
    """Raises ValueError unless each is a finite number above 0."""
    _expect(settings, names, lambda x: 0 < x < math.inf, "a number above 0")


def not_negative(settings: Any, *names: str) -> None:
    """Raises ValueError unless each is a finite number from 0."""
    _expect(settings, names, lambda x: 0 <= x < math.inf, "0 or more")


def counted(settings: Any, *names: str) -> None:
    """Raises ValueError unless each is a whole number from 0."""
    _expect(settings, names, lambda x: 0 <= x < math.inf and x == int(x), "a whole number from 0")


def fraction(settings: Any, *names: str) -> None:
    """Raises ValueError unless each is a number from 0 to 1."""
    _expect(settings, names, lambda x: 0 <= x <= 1, "a number from 0 to 1")


def at_least_one(settings: Any, *names: str) -> None:
    """Raises ValueError unless each is a whole number from 1."""
    _expect(settings, names, lambda x: x >= 1 and x == int(x), "a whole number from 1")


def _expect(settings: Any, names: tuple[str, ...], fits: Any, expected: str) -> None:
    for name in names:
        value = getattr(settings, name)
        if value is not None and not fits(value):
            raise ValueError(f"{type(settings).__name__}.{name} is {value}, expected {expected}")
