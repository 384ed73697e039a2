"""Whether gold fell for a family of prompts while it may have risen over all of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from posttrain.pipeline.finding import Finding

PREFIX = "family_change/"


def check(figures: Mapping[str, Any]) -> Finding:
    """Reads ``family_change/FAMILY`` with its interval: a family has fallen where the interval is below 0."""
    changes = {
        name.removeprefix(PREFIX): float(value)
        for name, value in figures.items()
        if name.startswith(PREFIX) and f"{name}_high" in figures
    }
    fell = {name: value for name, value in changes.items() if float(figures[f"{PREFIX}{name}_high"]) < 0}
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
