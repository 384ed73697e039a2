"""Whether a reward model is as sure as it is right."""

from __future__ import annotations

from posttrain.checks.thresholds import OfRewardModel
from posttrain.metrics import Metrics, read
from posttrain.pipeline.finding import Finding


def check(metrics: Metrics, thresholds: OfRewardModel) -> Finding:
    """Reads ``confidence_heldout``, the mean probability that it gives the answer that it prefers, and the
    upper end of ``label_accuracy``. It stops nothing: rewards are divided by their deviation, so how steep
    scores are changes no update; and with few comparisons the interval is wide.
    """
    sure, right = read(metrics, "confidence_heldout"), read(metrics, "label_accuracy")
    measured = sure.measured and right.high is not None
    limit = right.bounds[1] + thresholds.overconfidence
    return Finding(
        name="rm_calibrated",
        value=sure.value,
        threshold=limit if measured else "unknown",
        passed=not measured or sure.number <= limit,
        evidence=f"it is {sure.number:.1%} sure of what it prefers and right in {right.number:.1%}"
        if measured
        else "no held-out comparisons: not known",
        advice="fewer rm.epochs, a lower rm.learning_rate or a higher rm.weight_decay: it learned its "
        "comparisons by heart",
        learning=True,
        stops=False,
    )
