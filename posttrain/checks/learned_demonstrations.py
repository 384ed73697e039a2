"""Whether instruction tuning made held-out demonstrations likelier than they were."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from posttrain.pipeline.finding import Finding


def check(figures: Mapping[str, Any]) -> Finding:
    """Reads ``nll_heldout`` and ``nll_heldout_before``, nats per token; passes where nothing was held out."""
    after, before = figures.get("nll_heldout", "unknown"), figures.get("nll_heldout_before", "unknown")
    known = isinstance(after, int | float) and isinstance(before, int | float)
    return Finding(
        name="sft_learned",
        value=after,
        threshold=before,
        passed=not known or after < before,
        evidence=f"held-out demonstrations: {after:.3f} nats per token after, {before:.3f} before"
        if known
        else "no demonstrations were held out, so this is not known",
        advice="lower sft.learning_rate or sft.epochs; look whether the chat template suits the "
        "demonstrations",
        learning=True,
    )
