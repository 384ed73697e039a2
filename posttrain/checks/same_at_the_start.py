"""Whether sampler, trainer and reference were the same model before the first update."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from posttrain.pipeline.finding import Finding

SAMPLER_AGREES = 1e-2  # nats per token; float32 differs by about 1e-6, half precision by about 1e-2


def check(figures: Mapping[str, Any]) -> Finding:
    """Reads ``ratio_start``, ``kl_start`` and ``sampler_delta_max`` of reinforcement."""
    ratio, kl = float(figures.get("ratio_start", 1.0)), float(figures.get("kl_start", 0.0))
    delta = float(figures.get("sampler_delta_max", 0.0))
    return Finding(
        name="rl_same_at_the_start",
        value=kl,
        threshold=0.0,
        passed=ratio == 1.0 and kl == 0.0 and delta <= SAMPLER_AGREES,
        evidence=f"step 0: ratio {ratio}, KL {kl}; largest sampler-trainer difference {delta:.2e} nats in "
        f"a token",
        advice="the sampler has other weights or another temperature than the trainer, or the reference "
        "is not the start",
    )
