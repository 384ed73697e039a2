"""Each stage's metrics with their 95 % intervals: those of one axis as dots and whiskers, others in words."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape

from posttrain.metrics import MetricKind
from posttrain.report import titles
from posttrain.report.dots import (
    Change,
    Dot,
    between,
    dumbbells,
    narrow_dumbbells,
    narrow_whiskers,
    whiskers,
)
from posttrain.report.headline_pair import compared
from posttrain.report.record import Made, RunRecord
from posttrain.report.scale import number
from posttrain.report.shown import Shown, shown
from posttrain.report.svg import tag

CAPTION = (
    "Lines are 95 % intervals, and n how many rows they are over. In words, an arrow goes from the first "
    "step to the mean of the last tenth of the steps. Hollow grey dots are controls and people to compare "
    "with: what does not have the skill that is tested, and those whose choices were learned from. The "
    "tooltip of a name says what it means."
)
_HALF = 0.5  # of a share, where an axis has a level; other quantities have theirs at 0
_START, _FINAL = "{metric}_start", "{metric}_final"  # families of a run's first step and its last ones


def blocks(run: RunRecord) -> list[str]:
    """One block a stage that has metrics."""
    parts = []
    for stage in reversed(run.stages):  # what is measured last says most
        body = _stage(stage)
        if body:
            does = stage.does
            title = stage.address if does == stage.address else f"{stage.address}: {does}"
            parts.append(tag("h3", escape(title)) + body)
    return parts


def _stage(stage: Made) -> str:
    metrics = shown(stage)
    changes, of_changes = _changes(metrics)
    rest = [one for one in metrics if one.name not in of_changes]
    charts = []
    for axis in dict.fromkeys(one.kind.axis for one in rest if one.kind and one.kind.axis):
        members = [one for one in rest if one.kind and one.kind.axis == axis and one.finite]
        if len(members) > 1 and any(one.metric.interval for one in members):
            rest = [one for one in rest if one not in members]
            charts.append(_axis(axis, members))
    return words(rest) + "".join(charts) + changes


def _axis(title: str, members: Sequence[Shown]) -> str:
    """Metrics of one unit and axis under their title; it says what the first of them means."""
    share = all(one.percent for one in members)
    name = next((one.kind.level for one in members if one.kind and one.kind.level), "")
    level = (_HALF if share else 0.0, name) if name else None
    dots = [_dot(one) for one in members]
    unit = next(one.metric.unit for one in members)
    head = title if share or unit.lower() in title.lower() else f"{title}, {unit}"
    charts = whiskers(dots, share=share, level=level) + narrow_whiskers(dots, share=share, level=level)
    return tag("h4", escape(head), title=_meanings(members)) + charts


def _meanings(members: Sequence[Shown]) -> str:
    """What the declarations of an axis mean, each once, with the names of their slots."""
    return " ".join(dict.fromkeys(one.kind.meaning for one in members if one.kind))


def _dot(one: Shown) -> Dot:
    low, high = one.metric.interval or (None, None)
    kind = one.kind
    baseline = kind is not None and kind.baseline
    tone = "muted" if baseline else "gold" if kind is not None and kind.name == "gold/{model}" else "ink"
    note = f"n = {number(one.metric.n)}" if one.metric.n else ""
    return Dot(
        label=one.label, value=one.metric.number, low=low, high=high, note=note, control=baseline, tone=tone
    )


def _changes(metrics: Sequence[Shown]) -> tuple[str, set[str]]:
    """Metrics that are drawn as changes from one model to another, and the names of all that are drawn so."""
    charts, taken = "", set()
    pair = compared(metrics)
    by_name = {one.name: one for one in metrics}
    kinds = dict.fromkeys(one.kind for one in metrics if one.kind is not None and one.kind.change)
    for kind in kinds:
        members = [one for one in metrics if one.kind == kind]
        before, after = pair or _ends(members)
        rows = []
        for parts in dict.fromkeys(_parts(one) for one in members):
            of = {one.slot("model"): one for one in members if _parts(one) == parts and one.finite}
            taken |= {one.name for one in of.values()}
            if before not in of or after not in of or before == after:
                continue
            change = by_name.get(_change_of(kind, of[after]))
            note = f"[{_points(*change.metric.interval)}]" if change and change.metric.interval else ""
            taken |= {change.name} if change else set()
            ends = (of[before].metric.number, of[after].metric.number)
            rows.append(Change(label=titles.plain("/".join(parts)), before=ends[0], after=ends[1], note=note))
        if rows:
            models = titles.plain(before), titles.plain(after)
            head = f"{kind.axis}: {models[0]} → {models[1]}, change in points"
            charts += tag("h4", escape(head), title=kind.meaning)
            charts += dumbbells(rows, *models) + narrow_dumbbells(rows)
    return charts, taken


def _parts(one: Shown) -> tuple[str, ...]:
    """What is measured, without the model that it is measured of."""
    return tuple(text for slot, text in one.slots.items() if slot != "model")


def _ends(members: Sequence[Shown]) -> tuple[str, str]:
    """The first and the last model that are measured, in a stage that compares none."""
    models = list(dict.fromkeys(one.slot("model") for one in members))
    return models[0], models[-1]


def _change_of(kind: MetricKind, one: Shown) -> str:
    return titles.filled(kind.change, one.slots)


def _points(low: float, high: float) -> str:
    return f"{100 * low:+.1f} to {100 * high:+.1f}"


def words(metrics: Iterable[Shown]) -> str:
    """Metrics in a row of words: name, value, unit; first and last steps of a run in one."""
    listed = list(metrics)
    items = []
    for one in listed:
        kind = one.kind.name if one.kind else ""
        if kind == _START and _other_end(one, _FINAL, listed):
            continue
        start = _other_end(one, _START, listed) if kind == _FINAL else None
        if start is None or one.declared is None:
            items.append(_item(one.title, one.brief, _between(one), one, one.meaning))
        else:
            of, name = one.declared.of, one.slot("metric")
            value = f"{start.brief} → {one.brief}"
            items.append(_item(titles.title(of, name), value, "", one, of.meaning if of else ""))
    return tag("ul", "".join(items), class_="inline") if items else ""


def _item(title: str, value: str, interval: str, one: Shown, meaning: str) -> str:
    """A metric in words, with its unit where its name does not say it; shares are in per cent."""
    said_already = one.percent or not one.metric.measured or one.metric.unit.lower() in title.lower()
    unit = "" if said_already else one.metric.unit
    about = " ".join(text for text in (interval, unit) if text)
    body = escape(title) + tag("b", escape(value)) + (tag("i", escape(about)) if about else "")
    return tag("li", body, title=meaning or None)


def _other_end(one: Shown, family: str, among: Sequence[Shown]) -> Shown | None:
    """The start of a run's metric beside its end, or its end."""
    same = (x for x in among if x.kind and x.kind.name == family and x.slot("metric") == one.slot("metric"))
    return next(same, None)


def _between(one: Shown) -> str:
    return f"[{between(*one.metric.interval, one.percent)}]" if one.metric.interval else ""
