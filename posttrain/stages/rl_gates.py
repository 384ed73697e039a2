"""What a finished reinforcement is judged by."""

from __future__ import annotations

from typing import Any

from posttrain.checks import (
    kl_budget,
    more_than_length,
    nearer_the_teacher,
    reward_rose,
    same_at_the_start,
    something_to_learn,
    steady,
)
from posttrain.metrics import Metrics
from posttrain.pipeline.finding import Finding


def gates_of(stage: Any, metrics: Metrics) -> list[Finding]:
    """Of a ``Reinforcement``: a method that distils is judged by its teacher, a control only by how it
    began.
    """
    if stage.teacher is not None:
        return [nearer_the_teacher.check(metrics)]
    if stage.as_control:
        return [same_at_the_start.check(metrics, stage.thresholds, stage.compute)]
    least = min(stage.flat_steps or something_to_learn.STEPS, something_to_learn.STEPS)
    differed = something_to_learn.check(metrics, stage.compares, stage.thresholds, least)
    nothing_to_learn = any(finding.stops and not finding.passed for finding in differed)
    return [
        same_at_the_start.check(metrics, stage.thresholds, stage.compute),
        *([] if nothing_to_learn else [reward_rose.check(metrics)]),  # its advice would mislead
        kl_budget.check(metrics, stage.thresholds),
        more_than_length.of_rewards(metrics, stage.thresholds),
        *differed,
        *steady.check(metrics, stage.thresholds),
    ]
