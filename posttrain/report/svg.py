"""Markup made by hand: every value that reaches the page goes through here and is escaped."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from html import escape


def tag(name: str, body: str = "", /, **attributes: object) -> str:
    """An element. ``body`` is markup already; attributes are escaped; ``class_``: class; ``_``: hyphen."""
    written = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{escape(_plain(value))}"'
        for key, value in attributes.items()
        if value is not None
    )
    return f"<{name}{written}>{body}</{name}>"


def _plain(value: object) -> str:
    return f"{value:.2f}".rstrip("0").rstrip(".") if isinstance(value, float) else str(value)


def text(x: float, y: float, words: object, **attributes: object) -> str:
    return tag("text", escape(str(words)), x=float(x), y=float(y), **attributes)


def line(start: tuple[float, float], end: tuple[float, float], class_: str) -> str:
    (x1, y1), (x2, y2) = start, end
    return tag("line", x1=float(x1), y1=float(y1), x2=float(x2), y2=float(y2), class_=class_)


def circle(x: float, y: float, radius: float, class_: str, title: str = "") -> str:
    inside = tag("title", escape(title)) if title else ""
    return tag("circle", inside, cx=float(x), cy=float(y), r=float(radius), class_=class_)


def path(points: Sequence[tuple[float, float]], class_: str) -> str:
    """A line through the points, broken where one is not finite."""
    pieces, pen = [], "M"
    for x, y in points:
        if not (math.isfinite(x) and math.isfinite(y)):
            pen = "M"
            continue
        pieces.append(f"{pen}{x:.1f} {y:.1f}")
        pen = "L"
    return tag("path", d="".join(pieces), class_=class_) if pieces else ""


def area(upper: Sequence[tuple[float, float]], lower: Sequence[tuple[float, float]], class_: str) -> str:
    around = [*upper, *reversed(lower)]
    if not all(math.isfinite(x) and math.isfinite(y) for x, y in around) or len(upper) < 2:
        return ""
    return tag("path", d="M" + "L".join(f"{x:.1f} {y:.1f}" for x, y in around) + "Z", class_=class_)


def drawing(width: float, height: float, parts: Iterable[str], label: str, **attributes: object) -> str:
    """An SVG as wide as its place allows; ``label`` is read out where it cannot be seen."""
    return tag(
        "svg",
        "".join(parts),
        viewBox=f"0 0 {width:g} {height:g}",
        role="img",
        aria_label=label,
        xmlns="http://www.w3.org/2000/svg",
        **attributes,
    )


def width_of(words: str, size: float = 11.0) -> float:
    """About how wide a sans serif sets the words, in pixels."""
    narrow = sum(letter in "iljtfr.,:;'|![]() " for letter in words)
    return size * (0.6 * (len(words) - narrow) + 0.32 * narrow)
