"""Whether the policy went further from its reference than rewards can be trusted."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from posttrain.pipeline.finding import Finding

BUDGET = 10.0  # nats per completion; Gao et al. 2023 see gold turn well before


def check(figures: Mapping[str, Any]) -> Finding:
    """Reads ``kl_final``, nats per completion."""
    kl = float(figures.get("kl_final", 0.0))
    return Finding(
        name="rl_kl_budget",
        value=kl,
        threshold=BUDGET,
        passed=kl <= BUDGET,
        evidence=f"{kl:.2f} nats per completion from the reference in the last batches",
        advice="raise rl.method.kl.coef, lower rl.learning_rate or rl.steps",
    )
