"""Whether a reward model agrees with held-out comparisons more often than a coin."""

from __future__ import annotations

from posttrain.checks.thresholds import OfRewardModel
from posttrain.metrics import Metrics, read
from posttrain.pipeline.finding import Finding

ENOUGH = 30  # with fewer comparisons the interval is too wide to stop a recipe


def check(metrics: Metrics, thresholds: OfRewardModel) -> Finding:
    """Reads ``label_accuracy`` with its interval: agreement with labels, never with gold."""
    agreement = read(metrics, "label_accuracy")
    low, count = agreement.low, agreement.n or 0
    enough = low is not None and count >= ENOUGH
    return Finding(
        name="rm_above_chance",
        value=agreement.value,
        threshold=thresholds.accuracy,
        passed=not enough or (low is not None and low > thresholds.accuracy),
        evidence=f"95 % interval from {low:.3f} on {count} held-out comparisons"
        if enough
        else f"fewer than {ENOUGH} held-out comparisons: not known",
        advice="more comparisons, annotators who agree more, or rm.epochs=2; its score would be noise in "
        "reinforcement",
        learning=True,
    )
