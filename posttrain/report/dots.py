"""Figures as dots with their 95 % intervals as whiskers, one a row, on an axis they share."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from posttrain.report import svg
from posttrain.report.chart import value_of
from posttrain.report.scale import PixelScale, extent, labels, number, percent, ticks

_ROW, _WIDTH, _VALUES = 22.0, 740.0, 230.0
_LEGEND = 30.0  # height above the rows for words
_NARROW = 340.0  # width of the same on a phone: words stand above their dot


@dataclass(frozen=True, kw_only=True)
class Dot:
    """``low`` and ``high`` None: no interval is known. A control is drawn hollow."""

    label: str
    value: float
    low: float | None = None
    high: float | None = None
    note: str = ""
    control: bool = False
    tone: str = "ink"


def whiskers(
    rows: Sequence[Dot], *, share: bool, level: tuple[float, str] | None = None, unit: str = ""
) -> str:
    """``level``: a line to compare with, and its name (chance, no difference)."""
    if not rows:
        return ""
    left = min(300.0, max(svg.width_of(row.label, 12) for row in rows) + 26)
    top = _LEGEND if level else 6.0
    bottom = top + _ROW * len(rows)
    x = _axis(rows, share, level, (left, _WIDTH - _VALUES))
    parts = []
    grid = ticks(x.low, x.high, 5)
    for value, words in zip(grid, labels(grid, share), strict=True):
        parts.append(svg.line((x(value), top - 4), (x(value), bottom), "grid"))
        parts.append(svg.text(x(value), bottom + 15, words, class_="tick", text_anchor="middle"))
    if unit:
        parts.append(svg.text((x.start + x.end) / 2, bottom + 30, unit, class_="unit", text_anchor="middle"))
    if level and x.low <= level[0] <= x.high:
        parts.append(svg.line((x(level[0]), top - 8), (x(level[0]), bottom), "level"))
        parts.append(svg.text(x(level[0]), top - 12, level[1], class_="note", text_anchor="middle"))
    for index, row in enumerate(rows):
        parts += _row(row, x, top + _ROW * (index + 0.5), share)
    label = "; ".join(f"{row.label} {value_text(row, share)}" for row in rows)
    return svg.drawing(_WIDTH, bottom + (36 if unit else 22), parts, label, class_="dots")


def _axis(
    rows: Sequence[Dot], share: bool, level: tuple[float, str] | None, pixels: tuple[float, float]
) -> PixelScale:
    values = [v for row in rows for v in (row.value, row.low, row.high) if v is not None]
    low, high = extent([*values, *([level[0]] if level else [])], zero=True)
    if share:
        low, high = max(0.0, low), min(1.0, high)
        if high - low > 0.6:
            low, high = 0.0, 1.0
        elif high - low < 0.2:  # a narrow axis would make a small difference look large
            low = max(0.0, min(low, (low + high) / 2 - 0.1))
            high = min(1.0, low + 0.2)
    return PixelScale(low, high, *pixels)


def _row(row: Dot, x: PixelScale, y: float, share: bool) -> list[str]:
    parts = [svg.text(x.start - 14, y + 4, row.label, class_="label", text_anchor="end")]
    parts += _mark(row, x, y, share)
    parts.append(svg.text(x.end + 16, y + 4, value_text(row, share), class_="value"))
    return parts


def _mark(row: Dot, x: PixelScale, y: float, share: bool) -> list[str]:
    parts = []
    if row.low is not None and row.high is not None:
        parts.append(svg.line((x(row.low), y), (x(row.high), y), f"whisker {row.tone}"))
    kind = "hollow" if row.control else "dot"
    parts.append(
        svg.circle(x(row.value), y, 3.8, f"{kind} {row.tone}", f"{row.label}: {value_text(row, share)}")
    )
    return parts


def narrow_whiskers(rows: Sequence[Dot], *, share: bool, level: tuple[float, str] | None = None) -> str:
    """``whiskers`` for a narrow screen."""
    if not rows:
        return ""
    x = _axis(rows, share, level, (8.0, _NARROW - 8.0))

    def mark(index: int, y: float) -> list[str]:
        return _mark(rows[index], x, y, share)

    return _narrow([(row.label, value_text(row, share)) for row in rows], mark, x, share, level)


def _narrow(
    lines: Sequence[tuple[str, str]],
    mark: Callable[[int, float], list[str]],
    x: PixelScale,
    share: bool,
    level: tuple[float, str] | None = None,
) -> str:
    """Rows of a name, its value, and under them what ``mark`` draws at a height."""
    crowded = any(svg.width_of(f"{name}  {value}", 12) > _NARROW for name, value in lines)
    top, height = (18.0 if level else 4.0), (52.0 if crowded else 36.0)
    bottom = top + height * len(lines)
    grid = ticks(x.low, x.high, 4)
    parts = []
    for value, words in zip(grid, labels(grid, share), strict=True):
        parts.append(svg.line((x(value), top), (x(value), bottom), "grid"))
        parts.append(svg.text(x(value), bottom + 14, words, class_="tick", text_anchor="middle"))
    if level and x.low <= level[0] <= x.high:
        parts.append(svg.line((x(level[0]), top - 4), (x(level[0]), bottom), "level"))
        side = "start" if x(level[0]) < 40 else "end" if x(level[0]) > _NARROW - 40 else "middle"
        parts.append(svg.text(x(level[0]), top - 7, level[1], class_="note", text_anchor=side))
    for index, (name, words) in enumerate(lines):
        y = top + height * index
        parts.append(svg.text(0, y + 14, name, class_="label"))
        at, anchor = (0.0, "start") if crowded else (_NARROW, "end")
        parts.append(svg.text(at, y + (30 if crowded else 14), words, class_="value", text_anchor=anchor))
        parts += mark(index, y + height - 11)
    label = "; ".join(f"{name} {words}" for name, words in lines)
    return svg.drawing(_NARROW, bottom + 20, parts, label, class_="dots narrow")


def value_text(row: Dot, share: bool) -> str:
    words = value_of(row.value, share)
    if row.low is not None and row.high is not None:
        words += f"  [{between(row.low, row.high, share)}]"
    return f"{words}  {row.note}".rstrip()


def between(low: float, high: float, share: bool) -> str:
    if share:
        return f"{percent(low).split(chr(0x202F))[0]}–{percent(high)}"
    return f"{number(low)} to {number(high)}"


@dataclass(frozen=True, kw_only=True)
class Change:
    """A share before and after, as a component of the gold reward under two models."""

    label: str
    before: float
    after: float
    note: str = ""


def dumbbells(rows: Sequence[Change], before: str, after: str, fall: float = 0.05) -> str:
    """Hollow dot to full dot; a fall of more than ``fall`` is marked, in words too."""
    if not rows:
        return ""
    left, end = min(220.0, max(svg.width_of(row.label, 12) for row in rows) + 26), _WIDTH - _VALUES
    top = _LEGEND
    bottom = top + _ROW * len(rows)
    x = PixelScale(0.0, 1.0, left, end)
    parts = []
    for value in (0.0, 0.25, 0.5, 0.75, 1.0):
        parts.append(svg.line((x(value), top - 4), (x(value), bottom), "grid"))
        words = percent(value, 0)
        parts.append(svg.text(x(value), bottom + 15, words, class_="tick", text_anchor="middle"))
    parts.append(svg.circle(left + 6, 9, 3.8, "hollow muted"))
    parts.append(svg.text(left + 14, 13, before, class_="note"))
    at = left + 34 + svg.width_of(before, 11)
    parts += [svg.circle(at, 9, 3.8, "dot gold"), svg.text(at + 8, 13, after, class_="note")]
    for index, row in enumerate(rows):
        y = top + _ROW * (index + 0.5)
        parts.append(svg.text(left - 14, y + 4, row.label, class_="label", text_anchor="end"))
        parts += _dumbbell(row, x, y)
        bad = row.after - row.before < -fall
        parts.append(svg.text(end + 16, y + 4, _moved(row, fall), class_="value bad" if bad else "value"))
    label = "; ".join(f"{row.label} {percent(row.before)} to {percent(row.after)}" for row in rows)
    return svg.drawing(_WIDTH, bottom + 22, parts, label, class_="dots")


def narrow_dumbbells(rows: Sequence[Change], fall: float = 0.05) -> str:
    """``dumbbells`` for a narrow screen; the words of each row name both ends."""
    if not rows:
        return ""
    x = PixelScale(0.0, 1.0, 8.0, _NARROW - 8.0)

    def mark(index: int, y: float) -> list[str]:
        return _dumbbell(rows[index], x, y)

    return _narrow([(row.label, _moved(row, fall)) for row in rows], mark, x, True)


def _dumbbell(row: Change, x: PixelScale, y: float) -> list[str]:
    return [
        svg.line((x(row.before), y), (x(row.after), y), "whisker gold"),
        svg.circle(x(row.before), y, 3.8, "hollow muted"),
        svg.circle(x(row.after), y, 3.8, "dot gold"),
    ]


def _moved(row: Change, fall: float) -> str:
    change = f"{100 * (row.after - row.before):+.1f} {row.note}".rstrip().replace("-", "−")
    words = f"{percent(row.before)} → {percent(row.after)}  {change}"
    return words + ("  fell" if row.after - row.before < -fall else "")
