"""What a stage says about its work: metrics, findings and notes, as made.json keeps them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from posttrain.metrics import Metric, Metrics, Value, typed
from posttrain.pipeline.finding import Finding
from posttrain.pipeline.shape import FINDING


class _Values(dict[str, Value]):
    """Of metrics, also of those that answer to every name, as a stage's that has not run."""

    def __init__(self, metrics: Metrics) -> None:
        super().__init__({name: metric.value for name, metric in metrics.items()})
        self._metrics = metrics

    def __missing__(self, name: str) -> Value:
        return self._metrics[name].value


@dataclass(frozen=True, kw_only=True)
class Report:
    """What a stage says about its work. The first three metrics are its headline on the command line.

    A value that is no Metric becomes one without a unit; ``x_low``, ``x_high`` and ``x_n`` beside it are its
    interval and count.
    """

    metrics: Metrics = field(default_factory=dict)
    findings: list[Finding] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        if any(not isinstance(value, Metric) for value in self.metrics.values()):
            object.__setattr__(self, "metrics", typed(self.metrics))

    @property
    def values(self) -> dict[str, Value]:
        """The value of each metric, by its name."""
        return _Values(self.metrics)

    def to_json(self) -> dict[str, Any]:
        return {
            "metrics": {name: metric.to_json() for name, metric in self.metrics.items()},
            "findings": [asdict(finding) for finding in self.findings],
            "notes": list(self.notes),
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Report:
        """Of made.json; products made before metrics were typed have one flat object, ``figures``."""
        findings = [
            Finding(**{key: fact for key, fact in one.items() if key in FINDING})
            for one in value.get("findings", [])
            if "name" in one and "value" in one
        ]
        metrics = typed(value.get("figures", {}))
        metrics |= {name: Metric.from_json(stored) for name, stored in value.get("metrics", {}).items()}
        return cls(metrics=metrics, findings=findings, notes=list(value.get("notes", [])))
