"""How many rows a product holds to train on, and to measure with; how many answers a stage sampled."""

from __future__ import annotations

from posttrain.metrics import Metric, Metrics, declare_metric

ROWS = declare_metric(
    "rows",
    "Rows to train on: those that a product holds, or those that a stage learned from.",
    unit="rows",
    better="none",
    where="report",
)
ANSWERS = declare_metric(
    "answers",
    "Answers that were sampled, all of them together.",
    unit="answers",
    better="none",
    where="report",
)
HELDOUT = declare_metric(
    "heldout_{metric}",
    "Of the held-out rows, which nothing is trained on:",
    unit="",
    better="none",
    title="{metric}, held out",
    lender="report",
)


def row_counts(train: int, heldout: int) -> dict[str, Metric]:
    return ROWS.of(train) | HELDOUT.of(heldout, metric=ROWS)


def heldout(metrics: Metrics) -> dict[str, Metric]:
    """The same metrics, of held-out rows."""
    return {HELDOUT.named(metric=name): metric for name, metric in metrics.items()}
