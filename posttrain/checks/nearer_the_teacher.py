"""Whether distillation brought the student nearer to its teacher."""

from __future__ import annotations

from posttrain.metrics import Metrics, number
from posttrain.pipeline.finding import Finding

STEPS = 10  # fewer say nothing


def check(metrics: Metrics) -> Finding:
    """Reads ``kl_start`` and ``kl_final``, of the student from its teacher in nats per completion."""
    start, final = metrics["kl_start"].number, metrics["kl_final"].number
    return Finding(
        name="rl_nearer_the_teacher",
        value=final,
        threshold=start,
        passed=final < start or number(metrics, "steps", 0) < STEPS,
        evidence=f"{start:.2f} nats per completion from the teacher in the first batch, {final:.2f} in the "
        "last ones",
        advice="raise rl.learning_rate or rl.steps",
    )
