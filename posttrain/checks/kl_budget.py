"""Whether the policy went further from its reference than rewards can be trusted."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from posttrain.checks.thresholds import OfReinforcement
from posttrain.pipeline.finding import Finding


def check(figures: Mapping[str, Any], thresholds: OfReinforcement) -> Finding:
    """Reads ``kl_final``, nats per completion, and ``length_final``, tokens of a completion: KL is a sum over
    the tokens, so the budget is ``kl_per_token`` for each of them, and at least ``kl``.
    """
    kl, length = float(figures.get("kl_final", 0.0)), float(figures.get("length_final", 0.0))
    budget = max(thresholds.kl, thresholds.kl_per_token * length)
    return Finding(
        name="rl_kl_budget",
        value=kl,
        threshold=budget,
        passed=kl <= budget,
        evidence=f"{kl:.2f} nats per completion from the reference in the last batches; the budget is "
        f"{thresholds.kl_per_token:g} for each of {length:.0f} tokens, and at least {thresholds.kl:g}",
        advice="raise rl.method.kl.coef, lower rl.learning_rate or rl.steps",
    )
