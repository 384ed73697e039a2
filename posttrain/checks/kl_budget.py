"""Whether the policy went further from its reference than rewards can be trusted."""

from __future__ import annotations

from posttrain.checks.thresholds import OfReinforcement
from posttrain.metrics import Metrics, number
from posttrain.pipeline.finding import Finding


def check(metrics: Metrics, thresholds: OfReinforcement) -> Finding:
    """Reads ``kl_final``, nats per completion, and ``length_final``, tokens of a completion: KL is a sum over
    the tokens, so the budget is ``kl_per_token`` for each of them, and at least ``kl``.
    """
    kl, length = number(metrics, "kl_final", 0.0), number(metrics, "length_final", 0.0)
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
