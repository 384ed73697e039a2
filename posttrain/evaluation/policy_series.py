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
    """Scores of answers to the same prompts by a judge, a reward model that trained no policy.

    ``judge_score`` is of each policy; ``judge_win_rate`` (a tie is a half) and ``judge_change`` compare two.
    The first ``row`` of ``scores`` are a series of policies: the last is compared with the first and with all
    controls, and each with the one before it.
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
    for name, values in scores.items():
        figures |= with_interval(f"judge_score/{name}", bootstrap(values))
    return figures


def solved_in_a_row(right: Mapping[str, Sequence[float]], row: int, families: Sequence[str]) -> Figures:
    """Shares of problems solved, also by family where there are several, and their paired changes.

    ``right`` has a 1 or a 0 for each problem, ``families`` its family. The first ``row`` of ``right`` are a
    series of policies: each is compared with its predecessor, the last also with the first and all controls.
    """
    figures: Figures = {}
    names = list(right)
    policies, controls = names[:row], names[row:]
    pairs = [*pairwise(policies), *((x, policies[-1]) for x in (policies[:1] if row > 2 else []) + controls)]
    for name, hits in right.items():
        figures |= with_interval(f"solved/{name}", wilson(sum(hits), len(hits)))
        for family in sorted(set(families)) if len(set(families)) > 1 else ():
            of = [x for x, other in zip(hits, families, strict=True) if other == family]
            figures |= with_interval(f"solved/{name}/{family}", wilson(sum(of), len(of)))
    for before, now in pairs:
        gaps = [a - b for a, b in zip(right[now], right[before], strict=True)]
        figures |= with_interval(f"solved_change/{now}_vs_{before}", bootstrap(gaps))
    return figures


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
