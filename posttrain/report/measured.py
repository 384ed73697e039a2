"""Each stage's figures with their 95 % intervals: shares as dots and whiskers, everything else as words."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence
from html import escape

from posttrain.report import names
from posttrain.report.dots import (
    Change,
    Dot,
    between,
    dumbbells,
    narrow_dumbbells,
    narrow_whiskers,
    whiskers,
)
from posttrain.report.figures import Figure, grouped
from posttrain.report.record import Made, RunRecord
from posttrain.report.scale import number, percent
from posttrain.report.svg import tag

CAPTION = (
    "Lines are 95 % intervals, and n how many rows they are over. In words, an arrow goes from the first "
    "step to the mean of the last tenth of the steps. Hollow grey dots are controls and people to compare "
    "with: what does not have the skill that is tested, and those whose choices were learned from."
)
# Shares that are compared with each other share an axis; the line to compare with, and its name.
_GROUPS: tuple[tuple[str, re.Pattern[str], tuple[float, str] | None], ...] = (
    ("Win rates in gold, ties as half", re.compile(r"win_rate(/|$)"), (0.5, "even")),
    ("Win rates by the reward model, ties as half", re.compile(r"reward_win_rate(/|$)"), (0.5, "even")),
    ("Win rates by the judge, ties as half", re.compile(r"judge_win_rate(/|$)"), (0.5, "even")),
    ("Ties in gold", re.compile(r"tie_rate(/|$)"), None),
    ("Gold reward, share of the attainable maximum", re.compile(r"gold(/|$)"), None),
    (
        "Agreement with gold on pairs",
        re.compile(r"(accuracy|accuracy_on_policy|control|annotators?)(/|$)"),
        (0.5, "chance"),
    ),
    (
        "Agreement with held-out labels",
        re.compile(r"(label_(accuracy|control)|(implicit|judge)_accuracy)(/|$)"),
        (0.5, "chance"),
    ),
    ("Answers that end by themselves", re.compile(r"(ends|ended)(/|$)"), None),
    ("Shares", re.compile(r""), None),
)
# Quantities that are no shares, by the first part of their names.
_TITLES = {
    "gold_change": "Change of the gold reward, 1 is all that can be earned",
    "reward": "Score by the reward model, on its own scale",
}
_LABELS = {
    "accuracy": "reward model",
    "accuracy/clear": "reward model, clear pairs",
    "accuracy_on_policy": "reward model, the final policy's answers",
    "accuracy_on_policy/clear": "reward model, the final policy's answers, clear pairs",
    "control/bag_of_words": "words alone",
    "control/bag_of_words/clear": "words alone, clear pairs",
    "annotators": "mean annotator",
    "answers": "bare questions answered",
    "continues": "bare questions written on from",
}
# Figures with two names of their own are drawn as changes from one model to another.
_CHANGES = (
    ("Components of the gold reward", re.compile(r"gold/([^/]+)/([^/]+)"), "component_change"),
    ("Gold reward by kind of prompt", re.compile(r"gold_by_family/([^/]+)/([^/]+)"), "family_change"),
    (
        "Components of the gold reward by kind of prompt",
        re.compile(r"gold_by_family/([^/]+)/([^/]+/[^/]+)"),
        "",
    ),
)
_ENDS = (("sft", "final"), ("sft", "rl"), ("base", "final"), ("base", "rl"), ("base", "sft"))


def blocks(run: RunRecord) -> list[str]:
    """One block a stage that has figures."""
    drawn = []
    for stage in reversed(run.stages):  # what is measured last says most
        body = _stage(stage)
        if body:
            does = stage.does
            title = stage.address if does == stage.address else f"{stage.address}: {does}"
            drawn.append(tag("h3", escape(title)) + body)
    return drawn


def _stage(stage: Made) -> str:
    changes, drawn = _changes(stage)
    figures = [figure for figure in grouped(stage.figures) if figure.name not in drawn]
    charts, rest = [], list(figures)
    for title, pattern, level in _GROUPS:
        members = [figure for figure in rest if figure.share and pattern.match(figure.name)]
        if len(members) > 1 and any(figure.interval for figure in members):
            rest = [figure for figure in rest if figure not in members]
            dots = _dots(members, pattern)
            charts.append(tag("h4", title) + whiskers(dots, share=True, level=level))
            charts.append(narrow_whiskers(dots, share=True, level=level))
    for prefix in dict.fromkeys(f.name.partition("/")[0] for f in rest if "/" in f.name and f.interval):
        pattern = re.compile(re.escape(prefix) + "/")
        members = [figure for figure in rest if pattern.match(figure.name) and figure.interval]
        if len(members) > 1:
            rest = [figure for figure in rest if figure not in members]
            charts.append(_beside(prefix, _dots(members, pattern)))
    return words(rest) + "".join(charts) + changes


def _beside(prefix: str, dots: Sequence[Dot]) -> str:
    """A quantity that is no share, of several models."""
    level = (0.0, "no change") if "change" in prefix else None
    title = _TITLES.get(prefix) or names.readable(prefix).capitalize()
    unit = names.unit(prefix)
    head = tag("h4", escape(f"{title}, {unit}" if unit else title))
    drawn = whiskers(dots, share=False, level=level) + narrow_whiskers(dots, share=False, level=level)
    return head + drawn


def _dots(figures: Sequence[Figure], group: re.Pattern[str]) -> list[Dot]:
    """One dot a figure; what the group is called by is not said again on every row."""
    rows = []
    for figure in sorted(figures, key=lambda f: names.rank(f.name)):
        low, high = figure.interval or (None, None)
        control = bool(re.match(r"(label_)?control|annotators?(/|$)", figure.name))
        tone = "muted" if control else "gold" if figure.name.startswith("gold/") else "ink"
        short = "" if "accuracy" in group.pattern else group.sub("", figure.name, count=1)
        label = _LABELS.get(figure.name) or names.readable(short or figure.name)
        note = f"n = {number(figure.count)}" if figure.count else ""
        rows.append(
            Dot(label=label, value=figure.number, low=low, high=high, note=note, control=control, tone=tone)
        )
    return rows


def _changes(stage: Made) -> tuple[str, set[str]]:
    """Changes from SFT to the final model, and the names of the figures that need no other place then."""
    figures = {figure.name: figure for figure in grouped(stage.figures)}
    drawn, taken = "", set()
    for title, pattern, change in _CHANGES:
        parts: dict[str, dict[str, float]] = {}
        for name, figure in figures.items():
            found = pattern.fullmatch(name)
            if found and math.isfinite(figure.number):
                parts.setdefault(found[2], {})[found[1]] = figure.number
                taken.add(name)
        ends = next((e for e in _ENDS if any(set(e) <= of.keys() for of in parts.values())), None)
        rows = []
        for part, of in parts.items():
            if ends and set(ends) <= of.keys():
                known = figures.get(f"{change}/{part}")
                note = f"[{_points(*known.interval)}]" if known and known.interval else ""
                taken.add(f"{change}/{part}")
                rows.append(Change(label=names.model(part), before=of[ends[0]], after=of[ends[1]], note=note))
        if ends and rows:
            models = names.model(ends[0]), names.model(ends[1])
            drawn += tag("h4", escape(f"{title}: {models[0]} → {models[1]}, change in points"))
            drawn += dumbbells(rows, *models) + narrow_dumbbells(rows)
    return drawn, taken


def _points(low: float, high: float) -> str:
    return f"{100 * low:+.1f} to {100 * high:+.1f}"


def words(figures: Iterable[Figure]) -> str:
    """Figures in a row of words: name, value, unit."""
    said, listed = [], list(figures)
    by_name = {figure.name: figure for figure in listed}
    for figure in listed:
        stem = figure.name.removesuffix("_start").removesuffix("_final")
        start, end = by_name.get(f"{stem}_start"), by_name.get(f"{stem}_final")
        if start and end:
            if figure is end:
                arrow = tag("b", escape(f"{brief(start)} → {brief(end)}"))
                unit = names.unit(stem)
                said.append(
                    tag("li", escape(names.readable(stem)) + arrow + (tag("i", escape(unit)) if unit else ""))
                )
            continue
        about = " ".join(word for word in (_between(figure), names.unit(figure.name)) if word)
        value = tag("b", escape(brief(figure)))
        said.append(
            tag(
                "li", escape(names.readable(figure.name)) + value + (tag("i", escape(about)) if about else "")
            )
        )
    return tag("ul", "".join(said), class_="inline") if said else ""


def brief(figure: Figure) -> str:
    """The value alone."""
    return percent(figure.number) if figure.share else number(figure.value)


def _between(figure: Figure) -> str:
    return f"[{between(*figure.interval, figure.share)}]" if figure.interval else ""
