"""What a run of reinforcement reports of its whole log."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from posttrain.core.importance import CLIP_FRACTION, RATIO_MAX
from posttrain.data.row_counts import ANSWERS
from posttrain.metrics import Metric, MetricKind, declare_metric
from posttrain.training.rollout_metrics import (
    ENTROPY_BEFORE,
    EXPLAINED_VARIANCE,
    KL,
    LENGTH,
    REWARD,
    REWARD_LENGTH,
    REWARD_STD,
    ROWS_LEARNED,
    SAMPLER_DELTA_MAX,
    SAMPLER_DELTA_MEAN,
    TRUNCATED,
)

START = declare_metric(
    "{metric}_start",
    "Of a run's first step:",
    unit="",
    better="none",
    title="{metric}, first step",
)
FINAL = declare_metric(
    "{metric}_final",
    "Mean over a run's last tenth of steps:",
    unit="",
    better="none",
    title="{metric}, last steps",
)
RATIO_START = declare_metric(
    "ratio_start",
    "Largest probability ratio in the first update, which is 1 where sampler and trainer have the same "
    "weights.",
    unit="ratio",
    better="none",
    title="Probability ratio in the first update",
)
FLAT_STEPS = declare_metric(
    "flat_steps",
    "Share of steps whose rows were all paid the same.",
    unit="share of steps",
    better="down",
)
STEPS = declare_metric("steps", "Steps of training.", unit="steps", better="none")
UPDATES = declare_metric("updates", "Updates of the weights.", unit="updates", better="none")
FIRST_AND_LAST = (REWARD, KL, LENGTH, TRUNCATED, ENTROPY_BEFORE, EXPLAINED_VARIANCE, CLIP_FRACTION)


def of_run(
    history: list[dict[str, Any]], more: Sequence[str] = (), means: Mapping[str, MetricKind] | None = None
) -> dict[str, Metric]:
    """Of a run's log: its first batch of rollouts, and the mean of the last tenth of them. ``more`` are names
    of other metrics that are to be reported so, ``means`` of those whose mean over all steps is reported,
    each with its kind.
    """
    rows = by_step(history)
    last = rows[-max(1, len(rows) // 10) :]
    metrics: dict[str, Metric] = {}
    for name in (*(kind.name for kind in FIRST_AND_LAST), *more):
        values = [row[name] for row in last if name in row]
        if values:
            metrics |= FINAL.of(sum(values) / len(values), metric=name)
            metrics |= START.of(rows[0][name], metric=name)
    if RATIO_MAX.name in rows[0]:
        metrics |= RATIO_START.of(rows[0][RATIO_MAX.name])
    metrics |= SAMPLER_DELTA_MAX.of(max(row.get(SAMPLER_DELTA_MAX.name, 0.0) for row in rows))
    if deltas := [row[SAMPLER_DELTA_MEAN.name] for row in rows if SAMPLER_DELTA_MEAN.name in row]:
        metrics |= SAMPLER_DELTA_MEAN.of(max(deltas))
    if spread := [row[REWARD_STD.name] for row in rows if REWARD_STD.name in row]:
        metrics |= FLAT_STEPS.of(sum(value == 0.0 for value in spread) / len(spread))
    paid = [row for row in rows if row.get(REWARD_STD.name) and REWARD_LENGTH.name in row]
    if paid:
        metrics |= REWARD_LENGTH.of(sum(row[REWARD_LENGTH.name] for row in paid) / len(paid))
    for name, kind in (means or {}).items():
        if every := [row[name] for row in rows if name in row]:
            metrics |= kind.of(sum(every) / len(every))
    metrics |= STEPS.of(len(rows)) | ANSWERS.of(int(sum(row[ROWS_LEARNED.name] for row in rows)))
    return metrics | UPDATES.of(len(history))


def by_step(history: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The first update of each step."""
    by_step = {row["step"]: row for row in reversed(history)}
    return [by_step[step] for step in sorted(by_step)]


def finite(value: Any) -> Any:
    """JSON has no NaN: what is not a finite number is absent (None) from a curve."""
    return None if isinstance(value, float) and value - value != 0 else value
