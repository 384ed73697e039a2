"""Whom an evaluation compares: the pair of models that its headline is about."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from posttrain.report.record import RunRecord
from posttrain.report.shown import Shown, shown

# In the order in which a comparison is believed: gold, a judge, then what has no judge at all.
FAMILIES = (
    "win_rate/{model}_vs_{other}",
    "judge_win_rate/{model}_vs_{other}",
    "solved_change/{model}_vs_{other}",
    "implicit_accuracy/{model}_vs_{other}",
)
# What an evaluation without comparisons measures of each model, in the order in which they are made.
OF_ONE = ("gold/{model}", "reward/{model}")


def compared(metrics: Iterable[Shown]) -> tuple[str, str] | None:
    """Before and after: of the first comparison of a stage, which is the one that it was made for."""
    listed = list(metrics)
    for family in FAMILIES:
        for one in listed:
            if one.kind is not None and one.kind.name == family:
                return one.slot("other"), one.slot("model")
    return None


def models(run: RunRecord) -> tuple[str, str] | None:
    """Before and after, as the last stage that measured models has them."""
    for stage in reversed(run.stages):
        metrics = shown(stage)
        pair = compared(metrics) or _measured(metrics)
        if pair is not None:
            return pair
    return None


def _measured(metrics: Sequence[Shown]) -> tuple[str, str] | None:
    for family in OF_ONE:
        names = [one.slot("model") for one in metrics if one.kind is not None and one.kind.name == family]
        if len(names) > 1:
            return names[0], names[-1]
    return None
