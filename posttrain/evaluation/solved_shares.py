"""How many problems models solve, each compared with the one before it; nothing here reads gold."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise

from posttrain.evaluation.intervals import bootstrap, wilson
from posttrain.metrics import Metric, declare_metric

ENDS = declare_metric(
    "ends/{model}",
    "Share of the answers of {model} that end by themselves before the length limit.",
    unit="share of answers",
    better="up",
    axis="Answers that end by themselves",
    title="ends: {model}",
)
SOLVED = declare_metric(
    "solved/{model}",
    "Share of held-out problems that {model} solves in one sampled answer.",
    unit="share of problems",
    better="up",
    axis="Solved",
    title="solved: {model}",
)
SOLVED_FAMILY = declare_metric(
    "solved/{model}/{family}",
    "Share of held-out problems of the family {family} that {model} solves in one sampled answer.",
    unit="share of problems",
    better="up",
    axis="Solved, by family of problems",
    title="solved: {model}, {family}",
)
SOLVED_CHANGE = declare_metric(
    "solved_change/{model}_vs_{other}",
    "Share of problems that {model} solves less that of {other}, paired by problem.",
    unit="problems, of one",
    better="up",
    axis="Change of the share solved",
    level="no change",
    title="change of the share solved: {model} vs {other}",
)


def solved_in_a_row(
    right: Mapping[str, Sequence[float]], row: int, families: Sequence[str]
) -> dict[str, Metric]:
    """Shares of problems solved, also by family where there are several, and their paired changes.

    ``right`` has a 1 or a 0 for each problem, ``families`` its family. The first ``row`` of ``right`` are a
    series of policies: each is compared with its predecessor, the last also with the first and all controls.
    """
    metrics: dict[str, Metric] = {}
    names = list(right)
    policies, controls = names[:row], names[row:]
    pairs = [(policies[0], policies[-1]), *pairwise(policies), *((name, policies[-1]) for name in controls)]
    for name, hits in right.items():
        metrics |= SOLVED.of(wilson(sum(hits), len(hits)), model=name)
        for family in sorted(set(families)) if len(set(families)) > 1 else ():
            of = [x for x, other in zip(hits, families, strict=True) if other == family]
            metrics |= SOLVED_FAMILY.of(wilson(sum(of), len(of)), model=name, family=family)
    for before, now in dict.fromkeys(pair for pair in pairs if pair[0] != pair[1]):
        gaps = [a - b for a, b in zip(right[now], right[before], strict=True)]
        metrics |= SOLVED_CHANGE.of(bootstrap(gaps), model=now, other=before)
    return metrics
