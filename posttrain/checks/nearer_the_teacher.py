"""Whether distillation brought the student nearer to its teacher."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from posttrain.pipeline.finding import Finding

STEPS = 10  # fewer say nothing


def check(figures: Mapping[str, Any]) -> Finding:
    """Reads ``kl_start`` and ``kl_final``, of the student from its teacher in nats per completion."""
    start, final = float(figures["kl_start"]), float(figures["kl_final"])
    return Finding(
        name="rl_nearer_the_teacher",
        value=final,
        threshold=start,
        passed=final < start or int(figures.get("steps", 0)) < STEPS,
        evidence=f"{start:.2f} nats per completion from the teacher in the first batch, {final:.2f} in the "
        "last ones",
        advice="raise rl.learning_rate or rl.steps",
    )
