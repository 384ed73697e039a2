"""What a stage of reinforcement reports of its whole log."""

from __future__ import annotations

from collections.abc import Mapping

from posttrain.core.implicit_reward import NLL
from posttrain.metrics import Metric
from posttrain.rollouts.collect import FLAT_GROUPS, OF_ANSWERS
from posttrain.stages.mixing_in import OF_TEXT
from posttrain.training.run_summary import of_run

SHOWN = ("reward", "kl", "length")  # metrics beside the bar


def of_answers(metrics: Mapping[str, float]) -> dict[str, float]:
    """What the collector counted of a step's answers, as it is logged."""
    return {OF_ANSWERS.named(metric=name): value for name, value in metrics.items()}


def summary(history: list[dict[str, float]]) -> dict[str, Metric]:
    """That of every run, the loss of the pretraining text that was mixed in, and the share of groups that
    were all paid the same.
    """
    of_groups = OF_ANSWERS.named(metric=FLAT_GROUPS)
    return of_run(history, more=[OF_TEXT.named(metric=NLL)], means={of_groups: FLAT_GROUPS})
