"""Figures with their intervals, and all of a run's figures as one flat object."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from posttrain.report import names
from posttrain.report.record import Made, RunRecord

_ENDS = (("_low", "_high"), ("/low", "/high"), ("_lower", "_upper"), (".low", ".high"))


@dataclass(frozen=True, kw_only=True)
class Figure:
    """One figure of a stage; ``low`` and ``high``: its 95 % interval; ``count``: over how many, if stated."""

    name: str
    value: float | str
    low: float | None = None
    high: float | None = None
    count: int | None = None

    @property
    def number(self) -> float:
        return float(self.value) if isinstance(self.value, int | float) else math.nan

    @property
    def share(self) -> bool:
        """Whether it is a share of one, to be written in per cent."""
        if not isinstance(self.value, float):
            return False
        return names.is_share(self.name, self.value, *(self.interval or ()))

    @property
    def interval(self) -> tuple[float, float] | None:
        return None if self.low is None or self.high is None else (self.low, self.high)


def flat(run_dir: Path, workspace: Path) -> dict[str, float | str]:
    """Every figure of every stage as ``address.figure``, its time and memory, ``run.NAME`` of the whole.

    What is not a finite number is a string, so that the object is plain JSON. Raises UserError: no such run.
    """
    run = RunRecord.load(run_dir, workspace)
    found: dict[str, Any] = {"run.recipe": run.recipe, "run.directory": run.directory.name}
    found |= {"run.seconds": run.seconds, "run.gflops": run.gflops, "run.stages": len(run.stages)}
    checks = [finding for stage in run.stages for finding in stage.findings]
    found["run.checks"] = len(checks)
    found["run.checks_failed"] = sum(not finding.passed for finding in checks)
    for stage in run.stages:
        for name, value in stage.figures.items():
            found[f"{stage.address}.{name}"] = value
        found[f"{stage.address}.seconds"] = stage.seconds
        found[f"{stage.address}.peak_bytes"] = stage.peak_bytes
        found[f"{stage.address}.fingerprint"] = stage.fingerprint
    return {name: _plain(value) for name, value in found.items() if value is not None and value != ""}


def _plain(value: Any) -> float | str:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return value if isinstance(value, str | bool) else str(value)
    return value if math.isfinite(value) else str(value)


def grouped(figures: Mapping[str, Any]) -> list[Figure]:
    """The figures in their order, each with its interval and count, which are no figures by themselves."""
    taken: set[str] = set()
    rows = []
    for name, value in figures.items():
        numeric = isinstance(value, int | float) and not isinstance(value, bool)
        low = high = count = None
        if numeric:
            for down, up in _ENDS:
                if _is_number(figures.get(name + down)) and _is_number(figures.get(name + up)):
                    low, high = float(figures[name + down]), float(figures[name + up])
                    taken |= {name + down, name + up}
            if _is_number(figures.get(f"{name}_n")):
                count = int(figures[f"{name}_n"])
                taken.add(f"{name}_n")
        rows.append(Figure(name=name, value=value, low=low, high=high, count=count))
    return [row for row in rows if row.name not in taken]


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def find(stages: Iterable[Made], *names: str) -> tuple[Made, Figure] | None:
    """The first of these figures that any stage has, the last stage first: evaluation comes last."""
    backwards = list(stages)[::-1]
    for name in names:
        for stage in backwards:
            if name in stage.figures:
                return stage, next(f for f in grouped(stage.figures) if f.name == name)
    return None
