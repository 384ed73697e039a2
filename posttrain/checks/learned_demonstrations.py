"""Whether instruction tuning made held-out demonstrations likelier than they were."""

from __future__ import annotations

from posttrain.metrics import Metrics, read
from posttrain.pipeline.finding import Finding


def check(metrics: Metrics) -> Finding:
    """Reads ``nll_heldout`` and ``nll_heldout_before``, nats per token; passes where nothing was held out."""
    after, before = read(metrics, "nll_heldout"), read(metrics, "nll_heldout_before")
    measured = after.measured and before.measured
    return Finding(
        name="sft_learned",
        value=after.value,
        threshold=before.value,
        passed=not measured or after.number < before.number,
        evidence=f"held-out demonstrations: {after.number:.3f} nats per token after, "
        f"{before.number:.3f} before"
        if measured
        else "no demonstrations were held out, so this is not known",
        advice="lower sft.learning_rate or sft.epochs; look whether the chat template suits the "
        "demonstrations",
        learning=True,
    )
