"""Any number of policies in a row, each compared with the one before it, and controls with the last."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import pairwise

from posttrain.evaluation.compare import Answers, Figures, against, falls, of_one, win_rate
from posttrain.evaluation.intervals import IntervalEstimate, bootstrap, wilson, with_interval


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


def by_judge(scores: Mapping[str, Sequence[float]], row: int) -> Figures:
    """What a reward model that no policy learned from says of answers to the same prompts: ``judge_score`` of
    each; ``judge_win_rate``, ties as half, and ``judge_change``. The first ``row`` of ``scores`` are policies
    in a row: the last is compared with the first, each with the one before it, and the last with all others.
    """
    figures: Figures = {}
    names = list(scores)
    policies, controls = names[:row], names[row:]
    last = policies[-1]
    pairs = [(policies[0], last), *pairwise(policies), *((name, last) for name in controls)]
    for before, now in dict.fromkeys(pairs):
        gaps = [a - b for a, b in zip(scores[now], scores[before], strict=True)]
        figures |= with_interval(f"judge_win_rate/{now}_vs_{before}", win_rate(gaps))
        figures |= with_interval(f"judge_change/{now}_vs_{before}", bootstrap(gaps))
    for name, found in scores.items():
        figures |= with_interval(f"judge_score/{name}", bootstrap(found))
    return figures


def solved_in_a_row(right: Mapping[str, Sequence[float]], row: int, families: Sequence[str]) -> Figures:
    """Shares of problems solved, by family too where there are several; and their changes, paired: of each of
    the first ``row`` of ``right`` against the one before it, of the last of them against the first and
    against everybody else. ``right`` has a 1 or a 0 for each problem, ``families`` its family.
    """
    figures: Figures = {}
    names = list(right)
    policies, controls = names[:row], names[row:]
    pairs = [*pairwise(policies), *((x, policies[-1]) for x in (policies[:1] if row > 2 else []) + controls)]
    for name, found in right.items():
        figures |= with_interval(f"solved/{name}", wilson(sum(found), len(found)))
        for family in sorted(set(families)) if len(set(families)) > 1 else ():
            of = [x for x, known in zip(found, families, strict=True) if known == family]
            figures |= with_interval(f"solved/{name}/{family}", wilson(sum(of), len(of)))
    for before, now in pairs:
        gaps = [a - b for a, b in zip(right[now], right[before], strict=True)]
        figures |= with_interval(f"solved_change/{now}_vs_{before}", bootstrap(gaps))
    return figures


def slope(policies: Sequence[Answers]) -> IntervalEstimate:
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
