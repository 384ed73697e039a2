"""Whether the base knows enough of its world for anything built on it to make sense."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from posttrain.pipeline.finding import Finding

FACTS = 0.9
CONTINUES = 0.8


def check(figures: Mapping[str, Any]) -> list[Finding]:
    """Reads ``facts_heldout`` and ``continues`` of a base's report."""
    facts, continues = float(figures["facts_heldout"]), float(figures["continues"])
    return [
        Finding(
            name="base_facts",
            value=facts,
            threshold=FACTS,
            passed=facts >= FACTS,
            evidence=f"{facts:.1%} of held-out facts are completed in plain text",
            advice="train the base longer (scripts/train_base.py): what it does not know, no later stage "
            "adds",
        ),
        Finding(
            name="base_continues",
            value=continues,
            threshold=CONTINUES,
            passed=continues >= CONTINUES,
            evidence=f"after {continues:.1%} of bare questions it writes on instead of answering",
            advice="the pages hold questions with their answers behind them; instruction tuning would "
            "show nothing",
        ),
    ]
