"""One quantity over steps: a small panel with round ticks, its unit, and the mean of the last steps."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from html import escape
from itertools import pairwise

from posttrain.report import svg
from posttrain.report.scale import PixelScale, extent, labels, number, percent, ticks

WIDTH, HEIGHT = 336.0, 208.0
LEFT, RIGHT, TOP, BOTTOM = 46.0, 288.0, 46.0, 172.0
_DENSE = 40  # points from which on a running mean is drawn over the steps
_BESIDE = 12.0  # pixels that the words at a line's end may reach beyond the panel
_SPARSE = 12  # points up to which each is drawn, and the last stands for itself


@dataclass(frozen=True, kw_only=True)
class Series:
    """Points in the order they are joined; ``band`` has the 95 % interval of each point, or nothing.

    ``weights``: over how many rows or tokens each point is a mean; nothing where all count alike.
    """

    points: Sequence[tuple[float, float]]
    weights: Sequence[float] = ()
    tone: str = "ink"
    label: str = ""
    band: Sequence[tuple[float, float]] = ()


@dataclass(frozen=True, kw_only=True)
class Mark:
    """A lone point, such as best-of-n beside a policy's path."""

    x: float
    y: float
    label: str
    tone: str = "muted"


@dataclass(frozen=True, kw_only=True)
class Panel:
    title: str
    unit: str
    series: Sequence[Series]
    x_title: str = "step"
    share: bool = False
    positive: bool = False
    x_zero: bool = False
    dots: bool = False  # both coordinates were measured: points, and a path through their running means
    ends: tuple[str, str] = ("", "")  # words beside the first and the last point
    marks: Sequence[Mark] = field(default_factory=tuple)
    meaning: str = ""  # one sentence, for the tooltip and the description


def panel(what: Panel) -> str:
    """The panel as an SVG; empty where no point is finite."""
    points = [point for series in what.series for point in series.points if math.isfinite(point[1])]
    if not points:
        return ""
    points += [(mark.x, mark.y) for mark in what.marks]
    heights = [y for _, y in points] + [y for series in what.series for pair in series.band for y in pair]
    y_low, y_high = extent(heights, zero=what.positive)
    if what.share:
        y_low, y_high = max(0.0, y_low), min(1.0, y_high)
    x_low, x_high = min(x for x, _ in points), max(x for x, _ in points)
    x_low = 0.0 if what.x_zero else x_low
    x_high = x_high if x_high > x_low else x_low + 1
    x, y = PixelScale(x_low, x_high, LEFT, RIGHT), PixelScale(y_low, y_high, BOTTOM, TOP)
    parts = [*_frame(what, x, y)]
    for series in what.series:
        parts += _series(what, series, x, y)
    for mark in what.marks:
        parts.append(svg.circle(x(mark.x), y(mark.y), 3.4, f"hollow {mark.tone}"))
        parts.append(svg.text(x(mark.x), y(mark.y) - 8, mark.label, class_="note", text_anchor="middle"))
    parts += ['<g class="cursor"><line/><circle r="3"/><text/></g>']
    label = f"{what.title}, {what.unit}: " + _story(what) + (f". {what.meaning}" if what.meaning else "")
    if what.meaning:
        parts.insert(0, svg.tag("title", escape(what.meaning)))
    return svg.drawing(WIDTH, HEIGHT, parts, label, class_="panel", data_points=_hover(what, x, y))


def _frame(what: Panel, x: PixelScale, y: PixelScale) -> list[str]:
    parts = [svg.text(0, 13, what.title, class_="title"), svg.text(0, 28, what.unit, class_="unit")]
    rows = ticks(y.low, y.high)
    for value, words in zip(rows, labels(rows, what.share), strict=True):
        zero = value == 0 and y.low < 0
        parts.append(svg.line((LEFT, y(value)), (RIGHT, y(value)), "zero" if zero else "grid"))
        parts.append(svg.text(LEFT - 6, y(value) + 3.5, words, class_="tick", text_anchor="end"))
    columns = [t for t in ticks(x.low, x.high, 5) if what.x_title != "step" or t == int(t)]
    for value, words in zip(columns, labels(columns), strict=True):
        parts.append(svg.line((x(value), BOTTOM), (x(value), BOTTOM + 4), "axis"))
        parts.append(svg.text(x(value), BOTTOM + 16, words, class_="tick", text_anchor="middle"))
    parts.append(svg.line((LEFT, BOTTOM), (RIGHT, BOTTOM), "axis"))
    middle = (LEFT + RIGHT) / 2
    parts.append(svg.text(middle, BOTTOM + 31, what.x_title, class_="unit", text_anchor="middle"))
    return parts


def _series(what: Panel, series: Series, x: PixelScale, y: PixelScale) -> list[str]:
    points = [(x(a), y(b)) for a, b in series.points]
    parts = []
    dense, sparse = len(points) > _DENSE, len(points) <= _SPARSE
    if series.band and sparse:
        for (px, _), (low, high) in zip(points, series.band, strict=True):
            parts.append(svg.line((px, y(low)), (px, y(high)), f"whisker {series.tone}"))
    elif series.band:
        upper = [(px, y(high)) for (px, _), (_, high) in zip(points, series.band, strict=True)]
        lower = [(px, y(low)) for (px, _), (low, _) in zip(points, series.band, strict=True)]
        parts.append(svg.area(upper, lower, f"band {series.tone}"))
    line = running_mean(series.points, series.weights) if dense else list(series.points)
    if dense and what.dots:
        parts += [svg.circle(px, py, 1.5, f"faint {series.tone}") for px, py in points if math.isfinite(py)]
    elif dense:
        parts.append(svg.path(points, f"raw {series.tone}"))
    parts.append(svg.path([(x(a), y(b)) for a, b in line], f"line {series.tone}"))
    if sparse:
        parts += [svg.circle(px, py, 2.4, f"dot {series.tone}") for px, py in points if math.isfinite(py)]
    finite = [(a, b) for a, b in line if math.isfinite(b)]
    if finite:
        parts += _ends(what, series, finite, (x, y))
    return parts


def _ends(
    what: Panel, series: Series, finite: list[tuple[float, float]], scales: tuple[PixelScale, PixelScale]
) -> list[str]:
    x, y = scales
    (first_x, first), (last_x, last) = finite[0], finite[-1]
    mean, count = at_the_end(series)
    words = series.label or what.ends[1] or value_of(mean, what.share)
    text_x = x(last_x) + 6 if x(last_x) > RIGHT - 40 else x(last_x) + 7
    parts = [svg.text(text_x, y(last) + 4, words, class_=f"end {series.tone}")]
    if svg.width_of(words, 11.5) > _BESIDE + WIDTH - text_x:  # too long beside the line: above it
        parts = [svg.text(WIDTH, y(last) - 8, words, class_=f"end {series.tone}", text_anchor="end")]
    if count > 1 and not (series.label or what.ends[1]):
        parts.append(svg.text(text_x, y(last) + 16, f"last {count}", class_="note"))
    if what.ends[0]:
        parts.append(svg.text(x(first_x) + 7, y(first) + 4, what.ends[0], class_="note"))
    return parts


def value_of(value: float, share: bool) -> str:
    return percent(value) if share else number(value)


def window(count: int) -> int:
    """How many steps the drawn mean is over: an odd number, about a fifteenth of them."""
    return max(3, 2 * (count // 30) + 1)


def tail(count: int) -> int:
    """How many of the last steps the number at a line's end is over: a tenth of them, five at least."""
    return 1 if count <= _SPARSE else max(5, count // 10)


def at_the_end(series: Series) -> tuple[float, int]:
    """The weighted mean of the last steps, and how many of them are finite: one batch alone may be small."""
    count = tail(len(series.points))
    last = [pair for pair in _weighted(series.points, series.weights)[-count:] if math.isfinite(pair[0][1])]
    last = last or [p for p in _weighted(series.points, series.weights) if math.isfinite(p[0][1])][-1:]
    return _mean([(y, weight) for (_, y), weight in last]), len(last)


def running_mean(
    points: Sequence[tuple[float, float]], weights: Sequence[float] = ()
) -> list[tuple[float, float]]:
    """Of both coordinates, weighted, over ``window`` steps around each, and half of them at the ends."""
    half = window(len(points)) // 2
    pairs = _weighted(points, weights)
    means = []
    for index in range(len(points)):
        near = [pair for pair in pairs[max(0, index - half) : index + half + 1] if math.isfinite(pair[0][1])]
        x = _mean([(x, weight) for (x, _), weight in near]) if near else points[index][0]
        means.append((x, _mean([(y, weight) for (_, y), weight in near])))
    return means


def _weighted(
    points: Sequence[tuple[float, float]], weights: Sequence[float]
) -> list[tuple[tuple[float, float], float]]:
    return list(zip(points, weights or [1.0] * len(points), strict=True))


def _mean(pairs: Sequence[tuple[float, float]]) -> float:
    whole = math.fsum(weight for _, weight in pairs)
    return math.fsum(value * weight for value, weight in pairs) / whole if whole > 0 else math.nan


def _story(what: Panel) -> str:
    finite = [point for point in what.series[0].points if math.isfinite(point[1])]
    if not finite:
        return "nothing measured"
    first, last = finite[0], finite[-1]
    began = f"{value_of(first[1], what.share)} at {what.x_title} {number(first[0])}, "
    mean, count = at_the_end(what.series[0])
    if what.dots or count == 1:
        return began + f"{value_of(last[1], what.share)} at {number(last[0])}"
    return began + f"{value_of(mean, what.share)} as the mean of the last {count}, to {number(last[0])}"


def _hover(what: Panel, x: PixelScale, y: PixelScale) -> str | None:
    """[step, x, y, words] of each point of a panel over steps; the script shows them under the pointer."""
    if what.x_title != "step":
        return None
    rows = [
        [a, round(x(a), 1), round(y(b), 1), value_of(b, what.share)]
        for a, b in what.series[0].points
        if math.isfinite(b)
    ]
    steps = [step for step, value in what.series[0].points if math.isfinite(value)]
    ascending = all(one < other for one, other in pairwise(steps))
    return json.dumps(rows, ensure_ascii=False, separators=(",", ":")) if ascending else None
