"""What is reported of a contest beside what its policies are measured by: its judge, and what comes first."""

from __future__ import annotations

from collections.abc import Collection

from posttrain.metrics import DECLARED, Metric, MetricKind, Metrics, declare_metric
from posttrain.stages.rm_heldout import LABEL_ACCURACY

JUDGE_ACCURACY = declare_metric(
    "judge_accuracy",
    "Share of held-out comparisons in which the judge sides with what people chose.",
    unit="share of comparisons",
    better="up",
    axis="Agreement with held-out labels",
    level="chance",
    title="agreement of the judge with held-out labels",
    label="the judge",
)


def of_judge(metrics: Metrics) -> dict[str, Metric]:
    """How often the judge itself sides with people on comparisons that it has not seen."""
    agreement = metrics.get(LABEL_ACCURACY.name)
    return {} if agreement is None else {JUDGE_ACCURACY.name: agreement}


def headline(metrics: Metrics, kinds: Collection[MetricKind]) -> list[str]:
    """Of metrics the names of those kinds, in their order."""
    declared = {name: DECLARED.of(name, "report") for name in metrics}
    return [name for name, one in declared.items() if one is not None and one.kind in kinds]
