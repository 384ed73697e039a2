"""Whether sampler, trainer and reference were the same model before the first update."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from posttrain.checks.thresholds import OfReinforcement
from posttrain.pipeline.finding import Finding


def check(figures: Mapping[str, Any], thresholds: OfReinforcement, compute: str = "float32") -> Finding:
    """Reads ``ratio_start``, ``kl_start``, ``sampler_delta_max`` and ``sampler_delta_mean`` of reinforcement,
    whose products were made in ``compute``.
    """
    ratio, kl = float(figures.get("ratio_start", 1.0)), float(figures.get("kl_start", 0.0))
    delta = float(figures.get("sampler_delta_max", 0.0))
    mean = float(figures.get("sampler_delta_mean", 0.0))
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
