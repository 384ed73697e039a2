"""What is reported of play in an environment: by update, of a whole training, and of an evaluation."""

from __future__ import annotations

import math
from collections.abc import Mapping

from posttrain.core.batch import Rollouts
from posttrain.metrics import Metric, declare_metric
from posttrain.rollouts.online_reward import COMPARISONS
from posttrain.training.rollout_metrics import (
    ENTROPY_BEFORE,
    EXPLAINED_VARIANCE,
    KL,
    LENGTH,
    PART,
    REWARD,
    REWARD_STD,
    TOKENS,
)
from posttrain.training.run_summary import FINAL, START, STEPS, by_step

RETURN = declare_metric(
    "return",
    "Sum of the environment's own rewards, mean over the plays of a step.",
    unit="return per play",
    better="up",
    title="Return",
    order=2,
)
PLAY_LENGTH = declare_metric(
    "play_length",
    "Steps of a play, mean over plays.",
    unit="steps",
    better="none",
    title="Length of a play",
)
ACTIONS = declare_metric(
    "actions",
    "Actions that were learned from, all steps together.",
    unit="actions",
    better="none",
)
STEPS_PER_PLAY = declare_metric(
    "steps_per_play",
    "Steps of a play in the last batch, mean over plays.",
    unit="steps",
    better="none",
)
DECISIONS_PER_PLAY = declare_metric(
    "decisions_per_play",
    "Decisions of a play in the last batch, mean over plays; a decision may hold for several steps.",
    unit="decisions",
    better="none",
)
PAID_STEPS_PER_PLAY = declare_metric(
    "paid_steps_per_play",
    "Steps of a play in the last batch whose reward is not 0, mean over plays.",
    unit="steps",
    better="none",
)
RETURN_OF = declare_metric(
    "return/{play}",
    "Sum of the environment's own rewards, mean over plays; {play}: the policy sampled as in training, "
    "greedy, or a random one.",
    unit="return per play",
    better="up",
    axis="Return of a play",
    title="return: {play}",
)
FIRST_AND_LAST = (RETURN, REWARD, ENTROPY_BEFORE, EXPLAINED_VARIANCE, KL)


def of_play(metrics: Mapping[str, float], paying: Mapping[str, float], compared: bool) -> dict[str, float]:
    """The metrics of an update by the names that mean something here; ``paying`` are those of what pays. The
    reward is one of its own only where it was learned from comparisons.
    """
    earned = PART.named(part=RETURN)
    named = {name: value for name, value in metrics.items() if name not in (earned, LENGTH.name)}
    named[RETURN.name], named[PLAY_LENGTH.name] = metrics[earned], metrics[LENGTH.name]
    if not compared:
        del named[REWARD.name], named[REWARD_STD.name]
    return {**named, **paying}


def of_run(history: list[dict[str, float]]) -> dict[str, Metric]:
    """The first batch, and the mean of the last tenth of them."""
    rows = by_step(history)
    last = rows[-max(1, len(rows) // 10) :]
    metrics: dict[str, Metric] = {}
    for kind in FIRST_AND_LAST:
        values = [row[kind.name] for row in last if math.isfinite(row.get(kind.name, math.nan))]
        if values:
            metrics |= FINAL.of(sum(values) / len(values), metric=kind)
            if math.isfinite(rows[0].get(kind.name, math.nan)):
                metrics |= START.of(rows[0][kind.name], metric=kind)
    if COMPARISONS.name in rows[-1]:
        metrics |= COMPARISONS.of(int(rows[-1][COMPARISONS.name]))
    return metrics | STEPS.of(len(rows)) | ACTIONS.of(int(sum(row[TOKENS.name] for row in rows)))


def of_last_plays(facts: Rollouts) -> dict[str, Metric]:
    """What a row of the last batch looked like, on average."""
    mask = facts.action_mask
    steps = mask.sum(1).float()
    decisions = (facts.turn.masked_fill(~mask, -1).amax(1) + 1).float()
    paid = ((facts.rewards != 0) & mask).sum(1).float()
    metrics = STEPS_PER_PLAY.of(float(steps.mean())) | DECISIONS_PER_PLAY.of(float(decisions.mean()))
    return metrics | PAID_STEPS_PER_PLAY.of(float(paid.mean()))
