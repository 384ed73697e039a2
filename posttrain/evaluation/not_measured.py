"""What an evaluation leaves out because the recipe was asked for quick evidence."""

from __future__ import annotations

from collections.abc import Sequence

from posttrain.metrics import Metric, declare_metric

NOT_MEASURED = declare_metric(
    "not_measured/{stage}",
    "{stage} is a control that was left out for quick evidence; the value says how to add it.",
    unit="words",
    better="none",
)

HOW = "evidence=full"


def not_measured(left_out: Sequence[str]) -> tuple[dict[str, Metric], list[str]]:
    """A metric ``not_measured/NAME`` for each control that was left out, and one note for the report.

    Args:
        left_out: "NAME: what the control shows" of each.
    """
    if not left_out:
        return {}, []
    parts = [text.partition(": ") for text in left_out]
    metrics: dict[str, Metric] = {}
    for name, _, _ in parts:
        metrics |= NOT_MEASURED.of(f"{HOW} adds it", stage=name)
    named = "; ".join(f"{name} ({shows})" for name, _, shows in parts)
    return metrics, [f"Not measured: {named}. {HOW} adds {'it' if len(parts) == 1 else 'them'}."]
