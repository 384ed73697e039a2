"""Whether reinforcement raised the reward that it was given."""

from __future__ import annotations

from posttrain.metrics import Metrics, number
from posttrain.pipeline.finding import Finding

STEPS = 10  # fewer say nothing


def check(metrics: Metrics) -> Finding:
    """Reads ``reward_start`` and ``reward_final`` (proxy reward, mean over answers)."""
    start, final = metrics["reward_start"].number, metrics["reward_final"].number
    return Finding(
        name="rl_reward_rose",
        value=final,
        threshold=start,
        passed=final > start or number(metrics, "steps", 0) < STEPS,
        evidence=f"reward {start:.3f} in the first batch, {final:.3f} in the last ones",
        advice="raise rl.learning_rate or rl.steps, or lower rl.method.kl.coef",
        learning=True,
    )
