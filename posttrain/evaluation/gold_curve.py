"""Gold over the steps of reinforcement, from the episodes that it kept."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from posttrain.evaluation.gold import judge
from posttrain.evaluation.intervals import bootstrap
from posttrain.metrics import HIGH, LOW, declare_metric

GOLD_CURVE = declare_metric(
    "gold",
    "Gold reward of the answers that reinforcement sampled at a step, as a share of what a prompt can earn, "
    "mean; nothing is trained on it.",
    unit="share of the attainable",
    better="up",
    where="log",
    title="Gold reward",
    order=3,
)


def gold_over_steps(episodes: Sequence[Mapping[str, Any]]) -> Iterator[dict[str, float]]:
    """A row a step: {"step", "gold", "gold_low", "gold_high"}; nothing where there is no gold.

    ``step`` counts from 1, as the metrics of reinforcement do.
    """
    by_step: dict[int, list[float]] = {}
    for episode in episodes:
        judgement = judge(episode["prompt"], episode["response"], episode["ended"])
        if judgement is not None:
            by_step.setdefault(int(episode["step"]) + 1, []).append(judgement.total)
    for step in sorted(by_step):
        one = bootstrap(by_step[step], resamples=200)
        name = GOLD_CURVE.name
        yield {"step": step, name: one.value, f"{name}{LOW}": one.low, f"{name}{HIGH}": one.high}
