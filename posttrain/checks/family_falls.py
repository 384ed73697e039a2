"""Whether gold fell for a family of prompts while it may have risen over all of them."""

from __future__ import annotations

from posttrain.metrics import Metrics, members
from posttrain.pipeline.finding import Finding


def check(metrics: Metrics) -> Finding:
    """Reads ``family_change/FAMILY`` with its interval: a family has fallen where the interval is below 0."""
    measured = {slots["family"]: change for slots, change in members(metrics, "family_change/{family}")}
    changes = {family: change.number for family, change in measured.items() if change.high is not None}
    fell = {family: value for family, value in changes.items() if measured[family].bounds[1] < 0}
    worst = min(changes, key=changes.__getitem__, default="")
    return Finding(
        name="family_gold_falls",
        value=changes[worst] if worst else "unknown",
        threshold=0.0,
        passed=not fell,
        evidence="; ".join(
            f"gold of {name} changed by {100 * value:+.1f} points" for name, value in fell.items()
        )
        or (f"least for {worst}" if worst else "no family is judged by gold"),
        advice="what the reward model learned from another family may be wrong there: look at "
        "gold_by_family by part, raise rl.method.kl.coef, or take more comparisons of that family",
        learning=True,
        stops=False,
    )
