"""A metric as a reader is shown it, and all of a run's metrics as one flat object."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from posttrain.metrics import Declared, Metric, MetricKind, flat
from posttrain.report import titles
from posttrain.report.catalogue import declared
from posttrain.report.record import Made, RunRecord
from posttrain.report.scale import number, percent


@dataclass(frozen=True)
class Shown:
    """A metric of a stage, with its declaration where there is one."""

    name: str
    metric: Metric
    declared: Declared | None

    @property
    def kind(self) -> MetricKind | None:
        return self.declared.kind if self.declared else None

    @property
    def title(self) -> str:
        return titles.title(self.declared, self.name)

    @property
    def label(self) -> str:
        """What it is called beside others on one axis."""
        return titles.label(self.declared, self.name) if self.declared else self.title

    @property
    def meaning(self) -> str:
        return self.declared.meaning if self.declared else ""

    @property
    def slots(self) -> dict[str, str]:
        return dict(self.declared.slots) if self.declared else {}

    @property
    def finite(self) -> bool:
        return math.isfinite(self.metric.number)

    @property
    def brief(self) -> str:
        """The value alone."""
        return percent(self.metric.number) if self.percent else number(self.metric.value)

    @property
    def percent(self) -> bool:
        return self.metric.share and isinstance(self.metric.value, float)

    def slot(self, name: str) -> str:
        return self.slots.get(name, "")


def shown(stage: Made) -> list[Shown]:
    """The metrics of a stage in their order."""
    return [Shown(name, metric, declared(name, "report", metric)) for name, metric in stage.metrics.items()]


def of_family(stages: Iterable[Made], family: str) -> list[Shown]:
    """All metrics of a family that are finite, those of the last stage first."""
    backwards = list(stages)[::-1]
    everything = (one for stage in backwards for one in shown(stage))
    return [one for one in everything if one.kind is not None and one.kind.name == family and one.finite]


def find(stages: Iterable[Made], *names: str) -> Shown | None:
    """The first of these metrics that any stage has as a number, the last stage first."""
    backwards = list(stages)[::-1]
    for name in names:
        for stage in backwards:
            metric = stage.metrics.get(name)
            if metric is not None and math.isfinite(metric.number):
                return Shown(name, metric, declared(name, "report", metric))
    return None


def flat_metrics(run_dir: Path, workspace: Path) -> dict[str, float | str]:
    """Every metric of every stage as ``address.metric``, with ``_low``, ``_high`` and ``_n`` for its interval
    and count; a stage's time and memory; ``run.NAME`` of the whole.

    What is not a finite number is a string, so that the object is plain JSON. Raises UserError: no such run.
    """
    run = RunRecord.load(run_dir, workspace)
    values: dict[str, Any] = {"run.recipe": run.recipe, "run.directory": run.directory.name}
    values |= {"run.seconds": run.seconds, "run.gflops": run.gflops, "run.stages": len(run.stages)}
    checks = [finding for stage in run.stages for finding in stage.findings]
    values["run.checks"] = len(checks)
    values["run.checks_failed"] = sum(not finding.passed for finding in checks)
    for stage in run.stages:
        values |= {f"{stage.address}.{name}": value for name, value in flat(stage.metrics).items()}
        values[f"{stage.address}.seconds"] = stage.seconds
        values[f"{stage.address}.peak_bytes"] = stage.peak_bytes
        values[f"{stage.address}.fingerprint"] = stage.fingerprint
    return {name: _plain(value) for name, value in values.items() if value is not None and value != ""}


def _plain(value: Any) -> float | str:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return value if isinstance(value, str | bool) else str(value)
    return value if math.isfinite(value) else str(value)
