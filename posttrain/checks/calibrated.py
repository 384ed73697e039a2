"""Whether a reward model is as sure as it is right."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from posttrain.checks.thresholds import OfRewardModel
from posttrain.pipeline.finding import Finding


def check(figures: Mapping[str, Any], thresholds: OfRewardModel) -> Finding:
    """Reads ``confidence_heldout``, the mean probability that it gives the answer that it prefers, and the
    upper end of ``label_accuracy``. It stops nothing: rewards are divided by their deviation, so how steep
    scores are changes no update; and with few comparisons the interval is wide.
    """
    sure, high = figures.get("confidence_heldout", "unknown"), figures.get("label_accuracy_high", "unknown")
    known = isinstance(sure, int | float) and isinstance(high, int | float)
    limit = high + thresholds.overconfidence if known else "unknown"
    right = figures.get("label_accuracy", "unknown")
    return Finding(
        name="rm_calibrated",
        value=sure,
        threshold=limit,
        passed=not known or sure <= limit,
        evidence=f"it is {sure:.1%} sure of what it prefers and right in {float(right):.1%}"
        if known
        else "no held-out comparisons: not known",
        advice="fewer rm.epochs, a lower rm.learning_rate or a higher rm.weight_decay: it learned its "
        "comparisons by heart",
        learning=True,
        stops=False,
    )
