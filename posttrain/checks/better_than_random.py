"""Whether a policy earns more than chance."""

from __future__ import annotations

from posttrain.metrics import Metrics
from posttrain.pipeline.finding import Finding


def check(metrics: Metrics) -> Finding:
    """Reads ``return/policy`` and ``return/random`` with their intervals."""
    policy, random = metrics["return/policy"], metrics["return/random"]
    low, high = policy.bounds[0], random.bounds[1]
    return Finding(
        name="better_than_random",
        value=policy.number,
        threshold=random.number,
        passed=low > high,
        evidence=f"it earns {policy.number:.4g} a play (from {low:.4g}), a random policy "
        f"{random.number:.4g} (to {high:.4g})",
        advice="more rl.steps, another rl.learning_rate; with comparisons, look whether the reward fits them",
        learning=True,
    )
