"""What a finished reinforcement is judged by."""

from __future__ import annotations

from collections.abc import Mapping
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
from posttrain.pipeline.finding import Finding


def gates_of(stage: Any, metrics: Mapping[str, Any]) -> list[Finding]:
    """Of a ``Reinforcement``: a method that distils is judged by its teacher, a control only by how it
    began.
    """
    if stage.teacher is not None:
        return [nearer_the_teacher.check(metrics)]
    if stage.as_control:
        return [same_at_the_start.check(metrics, stage.thresholds, stage.compute)]
    return [
        same_at_the_start.check(metrics, stage.thresholds, stage.compute),
        reward_rose.check(metrics),
        kl_budget.check(metrics, stage.thresholds),
        more_than_length.of_rewards(metrics, stage.thresholds),
        *something_to_learn.check(metrics, stage.compares, stage.thresholds),
        *steady.check(metrics, stage.thresholds),
    ]
