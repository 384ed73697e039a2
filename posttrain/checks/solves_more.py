"""Whether a policy solves more held-out problems than the model it came from."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from posttrain.pipeline.finding import Finding


def check(figures: Mapping[str, Any]) -> Finding:
    """Reads ``solved_change/final_vs_base`` with its paired interval."""
    change, low = figures["solved_change/final_vs_base"], figures["solved_change/final_vs_base_low"]
    return Finding(
        name="solves_more",
        value=float(change),
        threshold=0.0,
        passed=float(low) > 0,
        evidence=f"solved {float(figures['solved/base']):.3f} of held-out problems before and "
        f"{float(figures['solved/final']):.3f} after; the change is at least {float(low):.3f}",
        advice="raise rl.steps or rl.group_size; where pass@64 of the base is low, little can be reinforced",
        learning=True,
    )
