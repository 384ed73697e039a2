"""Axes a person can read: round ticks, and numbers with as many digits as they deserve."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True)
class PixelScale:
    """A straight line from values ``low..high`` to pixels ``start..end``."""

    low: float
    high: float
    start: float
    end: float

    def __call__(self, value: float) -> float:
        if not math.isfinite(value):
            return math.nan
        return self.start + (value - self.low) / (self.high - self.low) * (self.end - self.start)


def ticks(low: float, high: float, count: int = 4) -> list[float]:
    """About ``count`` round numbers inside ``low..high``; one where the two are the same."""
    span = high - low
    if not (math.isfinite(span) and span > 0):
        return [low] if math.isfinite(low) else []
    unit = 10.0 ** math.floor(math.log10(span / count))
    step = min((unit * m for m in (1, 2, 2.5, 5, 10, 20)), key=lambda s: abs(span / s - count))
    first = math.ceil(low / step - 1e-9)
    last = math.floor(high / step + 1e-9)
    return [round(k * step, 12) for k in range(first, last + 1)]


def extent(values: Iterable[float], *, zero: bool = False, room: float = 0.06) -> tuple[float, float]:
    """The finite values with a little room around them; never empty and never of no width.

    ``zero``: a quantity that cannot be negative starts at zero where that costs little of the picture.
    """
    finite = [value for value in values if math.isfinite(value)]
    if not finite:
        return 0.0, 1.0
    low, high = min(finite), max(finite)
    if zero and 0 <= low < 0.5 * high:
        low = 0.0
    if high - low <= 1e-9 * max(abs(high), abs(low), 1e-6):
        pad = abs(high) * 0.1 or 1.0
        return (0.0 if zero and low >= 0 and low - pad < 0 else low - pad), high + pad
    pad = (high - low) * room
    return (low if low == 0 else low - pad), high + pad


def number(value: object, digits: int = 3) -> str:
    """Of a figure: thousands apart, three significant digits, a true minus; words stay as they are."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return str(value)
    if not math.isfinite(value):
        return "not a number" if math.isnan(value) else ("∞" if value > 0 else "−∞")
    size = abs(value)
    if isinstance(value, int) or (value == int(value) and 10 <= size < 1e15):
        return f"{int(value):,}".replace(",", "\u202f").replace("-", "−")
    if size and (size < 1e-3 or size >= 1e6):
        mantissa, exponent = f"{value:.{digits - 1}e}".split("e")
        mantissa = mantissa.rstrip("0").rstrip(".")
        power = str(int(exponent)).translate(str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹"))
        return f"{mantissa} × 10{power}".replace("-", "−")
    if not size:
        return "0"
    places = max(0, digits - 1 - math.floor(math.log10(size)))
    places = min(places, digits) if size >= 0.01 else places - 1
    written = f"{value:,.{places}f}".replace(",", "\u202f")
    return written.replace("-", "−")


def percent(value: float, places: int = 1) -> str:
    return f"{100 * value:.{places}f}\u202f%".replace("-", "−") if math.isfinite(value) else "not a number"


def labels(values: list[float], share: bool = False) -> list[str]:
    """Of ticks: all with the same number of decimals, as few as tell them apart."""
    if share:
        places = 0 if all(abs(100 * v - round(100 * v)) < 1e-6 for v in values) else 1
        return [f"{100 * v:.{places}f}\u202f%" for v in values]
    largest = max((abs(v) for v in values), default=0)
    if largest and (largest < 1e-3 or largest >= 1e6):
        return [number(v, 2) for v in values]
    places = next(
        (p for p in range(6) if all(abs(v - round(v, p)) < 1e-9 * max(1, largest) for v in values)), 6
    )
    return [f"{v:.{places}f}".replace("-", "−") for v in values]


def duration(seconds: float) -> str:
    if not math.isfinite(seconds):
        return "unknown"
    if seconds < 1:
        return f"{seconds:.2f}\u202fs"
    if seconds < 100:
        return f"{seconds:.0f}\u202fs" if seconds >= 10 else f"{seconds:.1f}\u202fs"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}\u202fh {minutes:02d}\u202fmin" if hours else f"{minutes}\u202fmin {rest:02d}\u202fs"


def size(count: float) -> str:
    for unit, power in (("GiB", 30), ("MiB", 20), ("KiB", 10)):
        if count >= 2**power:
            return f"{number(count / 2**power)}\u202f{unit}"
    return f"{int(count)}\u202fB"
