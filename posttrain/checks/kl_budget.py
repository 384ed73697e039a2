"""Whether the policy went further from its reference than rewards can be trusted."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from posttrain.pipeline.finding import Finding

BUDGET = 10.0  # nats per completion; Gao et al. 2023 see gold turn well before
PER_TOKEN = 0.2  # nats: the same budget for an answer of 50 tokens, and as far a step for longer ones


def check(figures: Mapping[str, Any]) -> Finding:
    """Reads ``kl_final``, nats per completion, and ``length_final``, tokens of a completion: KL is a sum over
    the tokens, so the budget is ``PER_TOKEN`` for each of them, and at least ``BUDGET``.
    """
    kl, length = float(figures.get("kl_final", 0.0)), float(figures.get("length_final", 0.0))
    budget = max(BUDGET, PER_TOKEN * length)
    return Finding(
        name="rl_kl_budget",
        value=kl,
        threshold=budget,
        passed=kl <= budget,
        evidence=f"{kl:.2f} nats per completion from the reference in the last batches; the budget is "
        f"{PER_TOKEN:g} for each of {length:.0f} tokens, and at least {BUDGET:g}",
        advice="raise rl.method.kl.coef, lower rl.learning_rate or rl.steps",
    )
