"""Whether an aligned policy prefers what people preferred, on comparisons it has not seen."""

from __future__ import annotations

from posttrain.checks.thresholds import OfAlignment
from posttrain.metrics import Metrics, read
from posttrain.pipeline.finding import Finding

ENOUGH = 30  # comparisons under which an interval is too wide to stop a recipe


def check(metrics: Metrics, thresholds: OfAlignment) -> Finding:
    """Reads ``label_accuracy`` with its interval: agreement with labels, never with gold."""
    agreement = read(metrics, "label_accuracy")
    low, count = agreement.low, agreement.n or 0
    enough = low is not None and count >= ENOUGH
    return Finding(
        name="alignment_above_chance",
        value=agreement.value,
        threshold=thresholds.accuracy,
        passed=not enough or (low is not None and low > thresholds.accuracy),
        evidence=f"95 % interval from {low} on {count} held-out comparisons"
        if enough
        else f"fewer than {ENOUGH} held-out comparisons: not known",
        advice="more comparisons, annotators who agree more, or a higher alignment.learning_rate",
        learning=True,
    )
