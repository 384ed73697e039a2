"""How often one of k answers is right."""

from __future__ import annotations

import math
from collections.abc import Sequence

from posttrain.evaluation.intervals import IntervalEstimate, bootstrap
from posttrain.metrics import declare_metric

PASS_AT = declare_metric(
    "pass@{k}/{model}",
    "Probability that at least one of {k} sampled answers of {model} solves a held-out problem, unbiased.",
    unit="share of problems",
    better="up",
    axis="Solved by one of several answers",
    title="pass@{k}: {model}",
)


def pass_at_k(right: Sequence[Sequence[bool]], k: int) -> IntervalEstimate:
    """Chen et al. 2021, eq. 1: ``E[1 - C(n - c, k) / C(n, k)]`` over prompts, with c of n answers right; the
    interval is over prompts. Raises ValueError where a prompt has fewer than k answers.
    """
    shares = []
    for answers in right:
        n, c = len(answers), sum(answers)
        if n < k:
            raise ValueError(f"pass@{k} of {n} answers to a prompt: expected at least {k}")
        shares.append(1.0 - math.comb(n - c, k) / math.comb(n, k))
    return bootstrap(shares)
