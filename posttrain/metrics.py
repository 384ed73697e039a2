"""What a number that a run reports is: its value, interval and unit, and what its name means.

A metric is declared once, at the top of the file that computes it:

    NLL = declare_metric(
        "nll", "Negative log-likelihood of the supervised tokens.", unit="nats per token", better="down"
    )

``NLL.name`` is the column of ``metrics.jsonl``; ``NLL.of(1.25)`` is what a stage reports. A name with slots
is a family: ``GOLD = declare_metric("gold/{model}", ...)`` and ``GOLD.of(0.6, model="sft")``. The slot
``metric`` stands for another metric, which lends its unit and direction: ``FINAL.of(2.4, metric=KL)`` is
``kl_final``. Nobody takes such a name apart: ``Declarations.of`` finds the declaration behind it.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any, Literal, NamedTuple

Value = float | int | str
Better = Literal["up", "down", "none"]
Where = Literal["", "log", "report"]
SLOT = re.compile(r"\{(\w+)\}")
INHERITED = "metric"  # the slot that stands for another metric
# How an interval's ends and its count stand beside a metric where metrics are one flat object.
LOW, HIGH, COUNT = "_low", "_high", "_n"


class IntervalEstimate(NamedTuple):
    """A value, its 95 % interval and how many observations it rests on; with an n of 0 nothing is known."""

    value: float
    low: float
    high: float
    n: int


@dataclass(frozen=True)
class Metric:
    """A number of a report with its 95 % interval and the ``n`` observations that it rests on; words say why
    there is no number ("unknown").
    """

    value: Value
    low: float | None = None
    high: float | None = None
    n: int | None = None
    unit: str = ""

    @property
    def number(self) -> float:
        """The value as a float; NaN where it is words."""
        return float(self.value) if isinstance(self.value, int | float) else math.nan

    @property
    def measured(self) -> bool:
        """Whether the value is a number, and not words that say why there is none."""
        return not isinstance(self.value, str)

    @property
    def interval(self) -> tuple[float, float] | None:
        return None if self.low is None or self.high is None else (self.low, self.high)

    @property
    def bounds(self) -> tuple[float, float]:
        """The ends of the interval; NaN where one is not known."""
        low, high = (math.nan if end is None else end for end in (self.low, self.high))
        return low, high

    @property
    def share(self) -> bool:
        """Whether it is a share of one, which is written in per cent."""
        return is_share(self.unit)

    def to_json(self) -> dict[str, Any]:
        """The value, and what else is others of it."""
        more = {name: getattr(self, name) for name in ("low", "high", "n", "unit")}
        others = {name: _plain(item) for name, item in more.items() if item is not None and item != ""}
        return {"value": _plain(self.value), **others}

    @classmethod
    def from_json(cls, stored: Any) -> Metric:
        """An object as ``to_json`` writes it, or the value alone."""
        if not isinstance(stored, Mapping):
            return cls(stored)
        others = {name: stored[name] for name in ("low", "high", "n", "unit") if name in stored}
        return cls(stored.get("value", "unknown"), **others)


Metrics = Mapping[str, Metric]
UNKNOWN = Metric("unknown")


@dataclass(frozen=True, kw_only=True)
class MetricKind:
    """The declaration of a metric, or of a family of them where ``name`` has {slots}.

    ``meaning`` is one sentence, in which the slots may stand. A ``unit`` that begins with "share" is a share
    of one. ``where`` tells two metrics of one name apart: one is logged at every step, one is reported.
    """

    name: str
    meaning: str
    unit: str
    better: Better
    where: Where = ""
    title: str = ""  # what a reader calls it; empty: its name
    axis: str = ""  # metrics of the same axis are drawn on one, under this title
    label: str = ""  # what it is called beside the others of its axis
    level: str = ""  # what a share of one half means on that axis
    baseline: bool = False  # something to compare the others of its axis with
    order: int = 0  # its place among the curves of a stage; 0 stands after them, behind a click
    change: str = ""  # drawn as a line from one model to the next: the family of its paired change
    lender: Where = "log"  # where the other metric stands that a name with the slot ``metric`` is made of
    floor_of: str = ""  # the metric whose least value it is, and in whose panel it is drawn
    largest: bool = False  # of several updates of a step a curve shows the largest, not the mean

    def of(self, value: Value | IntervalEstimate, **slots: str | MetricKind) -> dict[str, Metric]:
        """The metric by its name. An estimate of nothing (n is 0) is "unknown"."""
        unit = self.unit
        inherited = slots.get(INHERITED)
        if not unit and inherited is not None:
            lender = inherited if isinstance(inherited, MetricKind) else DECLARED.of(inherited, self.lender)
            unit = lender.unit if lender is not None else ""
        if not isinstance(value, IntervalEstimate):
            return {self.named(**slots): Metric(value, unit=unit)}
        if value.n == 0:
            return {self.named(**slots): Metric("unknown", unit=unit)}
        return {self.named(**slots): Metric(*value, unit=unit)}

    def named(self, **slots: str | MetricKind) -> str:
        """The name with its slots filled. Raises KeyError where one is missing."""
        texts = {
            slot: text.name if isinstance(text, MetricKind) else str(text) for slot, text in slots.items()
        }
        return SLOT.sub(lambda slot: texts[slot[1]], self.name)

    @property
    def slots(self) -> tuple[str, ...]:
        return tuple(SLOT.findall(self.name))

    def fits(self, value: Value) -> bool:
        """Whether a value may be in this unit: a share is no whole number and between 0 and 1."""
        if not is_share(self.unit) or isinstance(value, str):
            return True
        return isinstance(value, float) and (0 <= value <= 1 or not math.isfinite(value))


@dataclass(frozen=True)
class Declared:
    """The declaration behind a name, and what its slots stand for."""

    kind: MetricKind
    slots: Mapping[str, str]
    of: Declared | None = None  # the metric that lends its unit and direction

    @property
    def unit(self) -> str:
        return self.kind.unit or (self.of.unit if self.of else "")

    @property
    def better(self) -> Better:
        return self.of.better if self.of and self.kind.better == "none" else self.kind.better

    @property
    def meaning(self) -> str:
        """The sentence, with what the slots stand for; after it that of the metric it is made of."""
        sentence = SLOT.sub(lambda slot: self.slots.get(slot[1], slot[0]), self.kind.meaning)
        return f"{sentence} {self.of.meaning}" if self.of else sentence


@dataclass(frozen=True)
class Declarations:
    """Metrics that are declared, by name."""

    kinds: list[MetricKind] = field(default_factory=list)

    def of(self, name: str, where: Where = "", metric: Metric | None = None) -> Declared | None:
        """The declaration behind a name; of two, the one of ``where`` and of the ``metric``'s unit or, where
        it has none, which its value fits.
        """
        matches = [match for match in map(lambda kind: self._match(kind, name), self.kinds) if match]

        def rank(match: Declared) -> tuple[int, bool, bool, int, int]:
            kind = match.kind
            elsewhere = 0 if not where or kind.where == where else 2 if kind.where else 1
            other = metric is not None and not _in_unit_of(metric, match)
            literal = len(SLOT.sub("", kind.name))
            return elsewhere, other, match.of is not None, len(kind.slots), -literal

        return min(matches, key=rank, default=None)

    def _match(self, kind: MetricKind, name: str) -> Declared | None:
        match = _pattern(kind.name).fullmatch(name)
        slots = match.groupdict() if match else {}
        if match is None or INHERITED not in slots:
            return Declared(kind, slots) if match else None
        lender = self.of(slots[INHERITED], kind.lender)
        return Declared(kind, slots, lender) if lender else None


DECLARED = Declarations()  # by the modules that are imported


def declare_metric(name: str, meaning: str, *, unit: str, better: Better, **look: Any) -> MetricKind:
    """Declares a metric; the arguments are literals, which ``report.catalogue`` reads from the source.

    Raises ValueError where the name, in this place and unit, is declared already.
    """
    kind = MetricKind(name=name, meaning=meaning, unit=unit, better=better, **look)
    for other in DECLARED.kinds:
        if (other.name, other.where, other.unit) == (name, kind.where, unit) and other != kind:
            raise ValueError(f"the metric {name} is declared twice in {unit or 'no unit'}")
    if kind not in DECLARED.kinds:
        DECLARED.kinds.append(kind)
    return kind


def _in_unit_of(metric: Metric, match: Declared) -> bool:
    """Whether a metric has the unit of a declaration; one without a unit, whether it looks as if it had: a
    fraction between 0 and 1 is a share, and no other number is.
    """
    if metric.unit or isinstance(metric.value, str):
        return metric.unit in ("", match.unit)
    fraction = isinstance(metric.value, float) and 0 <= metric.value <= 1
    return fraction == is_share(match.unit)


def is_share(unit: str) -> bool:
    return unit.partition(" ")[0] == "share"


def typed(stored: Mapping[str, Any]) -> dict[str, Metric]:
    """Metrics that stand as one flat object, each with its interval and count, which are no metrics by
    themselves: ``x``, ``x_low``, ``x_high`` and ``x_n``. Values that are metrics stay as they are.
    """
    ends: set[str] = set()
    metrics: dict[str, Metric] = {}
    for name, value in stored.items():
        if isinstance(value, Metric):
            metrics[name] = value
            continue
        own_ends = {end: stored[f"{name}{end}"] for end in (LOW, HIGH, COUNT) if f"{name}{end}" in stored}
        own_ends = {end: value for end, value in own_ends.items() if type(value) in (int, float)}
        ends |= {f"{name}{end}" for end in own_ends}
        count = own_ends.get(COUNT)
        metrics[name] = Metric(
            value, own_ends.get(LOW), own_ends.get(HIGH), None if count is None else int(count)
        )
    return {name: metric for name, metric in metrics.items() if name not in ends}


def flat(metrics: Metrics) -> dict[str, Value]:
    """Metrics as one flat object: the inverse of ``typed``, without units."""
    values: dict[str, Value] = {}
    for name, metric in metrics.items():
        values[name] = metric.value
        ends = {LOW: metric.low, HIGH: metric.high, COUNT: metric.n}
        values |= {f"{name}{end}": value for end, value in ends.items() if value is not None}
    return values


def number(metrics: Metrics, name: str, default: float = math.nan) -> float:
    """The value of a metric as a float; ``default`` where it is absent, NaN where it is words."""
    return metrics[name].number if name in metrics else default


def read(metrics: Metrics, name: str) -> Metric:
    """The metric; "unknown" where it is absent."""
    return metrics.get(name, UNKNOWN)


def members(metrics: Metrics, family: str) -> list[tuple[dict[str, str], Metric]]:
    """What stands in the slots of each metric of a family, by the family's name, and the metric."""
    matches = [(_pattern(family).fullmatch(name), metric) for name, metric in metrics.items()]
    return [(match.groupdict(), metric) for match, metric in matches if match]


def first(metrics: Metrics, names: Iterable[str]) -> dict[str, Metric]:
    """The same metrics, those of these names first: a stage's line on the command line shows three."""
    return {name: metrics[name] for name in dict.fromkeys([*names, *metrics]) if name in metrics}


def _plain(value: Any) -> Any:
    """Scalars of numpy and torch as Python's own, so that files hold numbers and not their descriptions."""
    return value.item() if hasattr(value, "item") else value


@cache
def _pattern(name: str) -> re.Pattern[str]:
    """Of a family's members. A slot is part of a path; that of another metric may be a whole one."""
    parts = SLOT.split(name)
    texts = [re.escape(part) for part in parts[::2]]
    slots = [rf"(?P<{slot}>.+)" if slot == INHERITED else rf"(?P<{slot}>[^/]+?)" for slot in parts[1::2]]
    return re.compile("".join(text + slot for text, slot in zip(texts, [*slots, ""], strict=True)))
