"""Whether sampler, trainer and reference were the same model before the first update."""

from __future__ import annotations

from posttrain.checks.thresholds import OfReinforcement
from posttrain.metrics import Metrics, number
from posttrain.pipeline.finding import Finding


def check(metrics: Metrics, thresholds: OfReinforcement, compute: str = "float32") -> Finding:
    """Reads ``ratio_start``, ``kl_start``, ``sampler_delta_max`` and ``sampler_delta_mean`` of reinforcement,
    whose products were made in ``compute``.
    """
    ratio, kl = number(metrics, "ratio_start", 1.0), number(metrics, "kl_start", 0.0)
    delta = number(metrics, "sampler_delta_max", 0.0)
    mean = number(metrics, "sampler_delta_mean", 0.0)
    agrees = delta <= thresholds.sampler if compute == "float32" else mean <= thresholds.sampler_rounded
    return Finding(
        name="rl_same_at_the_start",
        value=kl,
        threshold=0.0,
        passed=ratio == 1.0 and kl == 0.0 and agrees,
        evidence=f"step 0: ratio {ratio}, KL {kl}; largest sampler-trainer difference {delta:.2e} nats in "
        f"a token{'' if compute == 'float32' else f', mean {mean:.2e}'}",
        advice="the sampler has other weights or another temperature than the trainer, or the reference "
        "is not the start",
    )
