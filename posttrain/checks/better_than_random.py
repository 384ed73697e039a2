"""Whether a policy earns more than chance."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from posttrain.pipeline.finding import Finding


def check(figures: Mapping[str, Any]) -> Finding:
    """Reads ``return/policy`` and ``return/random`` with their intervals."""
    own, low = float(figures["return/policy"]), float(figures["return/policy_low"])
    chance, high = float(figures["return/random"]), float(figures["return/random_high"])
    return Finding(
        name="better_than_random",
        value=own,
        threshold=chance,
        passed=low > high,
        evidence=f"it earns {own:.4g} a play (from {low:.4g}), a random policy {chance:.4g} (to {high:.4g})",
        advice="more rl.steps, another rl.learning_rate; with comparisons, look whether the reward fits them",
        learning=True,
    )
