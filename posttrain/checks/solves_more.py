"""Whether a policy solves more held-out problems than the model it came from."""

from __future__ import annotations

from posttrain.metrics import Metrics
from posttrain.pipeline.finding import Finding


def check(metrics: Metrics) -> Finding:
    """Reads ``solved_change/final_vs_base`` with its paired interval."""
    change = metrics["solved_change/final_vs_base"]
    low, _ = change.bounds
    return Finding(
        name="solves_more",
        value=change.number,
        threshold=0.0,
        passed=low > 0,
        evidence=f"solved {metrics['solved/base'].number:.3f} of held-out problems before and "
        f"{metrics['solved/final'].number:.3f} after; the change is at least {low:.3f}",
        advice="raise rl.steps or rl.group_size; where pass@64 of the base is low, little can be reinforced",
        learning=True,
    )
