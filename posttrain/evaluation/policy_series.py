"""Any number of policies in a row, each compared with the one before it, and controls with the last."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import pairwise

from posttrain.evaluation.compare import COMPONENT_CHANGE_WORST, Answers, against, falls, of_one, win_rate
from posttrain.evaluation.intervals import bootstrap
from posttrain.metrics import IntervalEstimate, Metric, declare_metric

COMPONENT_CHANGE_WORST_OF = declare_metric(
    "component_change_worst/{model}_vs_{other}",
    "The least of the changes of the components of the gold reward from {other} to {model}.",
    unit="gold reward",
    better="up",
    title="smallest change of a component of gold: {model} vs {other}",
)
GOLD_SLOPE = declare_metric(
    "gold_slope",
    "Gold reward gained from one policy of the row to the next, least squares over the row, paired by "
    "prompt.",
    unit="gold reward per policy",
    better="up",
)
JUDGE_WIN_RATE = declare_metric(
    "judge_win_rate/{model}_vs_{other}",
    "Share of prompts to which a judge that no policy learned from scores the answer of {model} higher than "
    "that of {other}, ties as half.",
    unit="share of prompts",
    better="up",
    axis="Win rates by the judge, ties as half",
    level="even",
    title="win rate by the judge: {model} vs {other}",
)
JUDGE_CHANGE = declare_metric(
    "judge_change/{model}_vs_{other}",
    "The judge's score of {model} less that of {other}, paired by prompt, mean.",
    unit="score",
    better="up",
    axis="Change of the judge's score",
    level="no change",
    title="change of the judge's score: {model} vs {other}",
)
JUDGE_SCORE = declare_metric(
    "judge_score/{model}",
    "Score by the judge, on its own scale, of the answers of {model}, mean over prompts.",
    unit="score",
    better="up",
    axis="Score by the judge, on its own scale",
)


def in_a_row(policies: Sequence[Answers], controls: Sequence[Answers], rewarded: bool) -> dict[str, Metric]:
    """Metrics of each by itself; of each against the one before it, of the last against the first and against
    every control; the slope of gold over the row. Without a reward model nothing is said of rewards.
    """
    last = policies[-1]
    metrics = against(last, policies[0], rewarded) if len(policies) > 2 else {}
    for before, now in pairwise(policies):
        metrics |= against(now, before, rewarded)
        worst = falls(now, before)[COMPONENT_CHANGE_WORST.name].value
        metrics |= COMPONENT_CHANGE_WORST_OF.of(worst, model=now.name, other=before.name)
    for other in controls:
        metrics |= against(last, other, rewarded)
    if len(policies) > 2:
        metrics |= GOLD_SLOPE.of(slope(policies))
    for one in (*policies, *controls):
        metrics |= of_one(one, rewarded)
    return metrics


def by_judge(scores: Mapping[str, Sequence[float]], row: int) -> dict[str, Metric]:
    """Scores of answers to the same prompts by a judge, a reward model that trained no policy.

    ``judge_score`` is of each policy; ``judge_win_rate`` (a tie is a half) and ``judge_change`` compare two.
    The first ``row`` of ``scores`` are a series of policies: the last is compared with the first and with all
    controls, and each with the one before it.
    """
    metrics: dict[str, Metric] = {}
    names = list(scores)
    policies, controls = names[:row], names[row:]
    last = policies[-1]
    pairs = [(policies[0], last), *pairwise(policies), *((name, last) for name in controls)]
    for before, now in dict.fromkeys(pairs):
        gaps = [a - b for a, b in zip(scores[now], scores[before], strict=True)]
        metrics |= JUDGE_WIN_RATE.of(win_rate(gaps), model=now, other=before)
        metrics |= JUDGE_CHANGE.of(bootstrap(gaps), model=now, other=before)
    for name, values in scores.items():
        metrics |= JUDGE_SCORE.of(bootstrap(values), model=name)
    return metrics


def slope(policies: Sequence[Answers]) -> IntervalEstimate:
    """Gold gained from one policy of a series to the next: the least-squares slope over their indices.

    It is the mean over prompts, paired, with a bootstrap interval over prompts.
    """
    count = len(policies)
    places = [index - (count - 1) / 2 for index in range(count)]
    square = math.fsum(index * index for index in places)
    slopes = []
    for judged in zip(*(policy.gold for policy in policies), strict=True):
        totals = [judgement.total for judgement in judged if judgement is not None]
        if len(totals) == count:
            slopes.append(math.fsum(p * t for p, t in zip(places, totals, strict=True)) / square)
    return bootstrap(slopes)
