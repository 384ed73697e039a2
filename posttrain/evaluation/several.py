"""Any number of policies in a row, each compared with the one before it, and controls with the last."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

from posttrain.evaluation.compare import Answers, Figures, against, falls, of_one
from posttrain.evaluation.intervals import Estimate, bootstrap, with_interval


def in_a_row(policies: Sequence[Answers], controls: Sequence[Answers], rewarded: bool) -> Figures:
    """Figures of each by itself; of each against the one before it, of the last against the first and against
    every control; the slope of gold over the row. Without a reward model nothing is said of rewards.
    """
    figures: Figures = {}
    last = policies[-1]
    for before, now in pairwise(policies):
        figures |= against(now, before)
        worst = falls(now, before)["component_change_worst"]
        figures[f"component_change_worst/{now.name}_vs_{before.name}"] = worst
    for other in [policies[0], *controls] if len(policies) > 2 else controls:
        figures |= against(last, other)
    if len(policies) > 2:
        figures |= with_interval("gold_slope", slope(policies))
    for one in (*policies, *controls):
        figures |= of_one(one)
    return figures if rewarded else {n: v for n, v in figures.items() if not n.startswith("reward")}


def slope(policies: Sequence[Answers]) -> Estimate:
    """Gold gained from one policy to the next: the least-squares slope over their places in the row, its mean
    over prompts, paired, with the bootstrap's interval over prompts.
    """
    count = len(policies)
    places = [place - (count - 1) / 2 for place in range(count)]
    square = math.fsum(place * place for place in places)
    slopes = []
    for judged in zip(*(policy.gold for policy in policies), strict=True):
        totals = [found.total for found in judged if found is not None]
        if len(totals) == count:
            slopes.append(math.fsum(p * t for p, t in zip(places, totals, strict=True)) / square)
    return bootstrap(slopes)
