"""Whether an aligned policy prefers what people preferred, on comparisons it has not seen."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from posttrain.checks.thresholds import OfAlignment
from posttrain.pipeline.finding import Finding

ENOUGH = 30  # comparisons under which an interval is too wide to stop a recipe


def check(figures: Mapping[str, Any], thresholds: OfAlignment) -> Finding:
    """Reads ``label_accuracy`` with its interval: agreement with labels, never with gold."""
    value, low = figures.get("label_accuracy", "unknown"), figures.get("label_accuracy_low")
    known = isinstance(low, int | float) and int(figures.get("label_accuracy_n", 0)) >= ENOUGH
    return Finding(
        name="alignment_above_chance",
        value=value,
        threshold=thresholds.accuracy,
        passed=not known or (isinstance(low, int | float) and low > thresholds.accuracy),
        evidence=f"95 % interval from {low} on {figures.get('label_accuracy_n')} held-out comparisons"
        if known
        else f"fewer than {ENOUGH} held-out comparisons: not known",
        advice="more comparisons, annotators who agree more, or a higher alignment.learning_rate",
        learning=True,
    )
