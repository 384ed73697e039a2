"""Whether the base knows enough of its world for anything built on it to make sense."""

from __future__ import annotations

from posttrain.checks.thresholds import OfBase
from posttrain.metrics import Metrics
from posttrain.pipeline.finding import Finding


def check(metrics: Metrics, thresholds: OfBase) -> list[Finding]:
    """Reads ``facts_heldout`` and ``continues`` of a base's report."""
    facts, continues = metrics["facts_heldout"].number, metrics["continues"].number
    return [
        Finding(
            name="base_facts",
            value=facts,
            threshold=thresholds.facts,
            passed=facts >= thresholds.facts,
            evidence=f"{facts:.1%} of held-out facts are completed in plain text",
            advice="train the base longer (scripts/train_base.py): what it does not know, no later stage "
            "adds",
        ),
        Finding(
            name="base_continues",
            value=continues,
            threshold=thresholds.continues,
            passed=continues >= thresholds.continues,
            evidence=f"after {continues:.1%} of bare questions it writes on instead of answering",
            advice="the pages hold questions with their answers behind them; instruction tuning would "
            "show nothing",
        ),
    ]
