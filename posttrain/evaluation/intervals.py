"""95 % intervals: Wilson's for shares, Fisher's for correlations, the bootstrap for means."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch

from posttrain.metrics import IntervalEstimate

Z = 1.959963984540054  # the 97.5 % point of the normal distribution


UNKNOWN = IntervalEstimate(math.nan, math.nan, math.nan, 0)


def wilson(successes: float, n: int) -> IntervalEstimate:
    """The score interval of a share (Wilson 1927). Halves (ties) may be among the successes."""
    if n == 0:
        return UNKNOWN
    share = successes / n
    centre = (share + Z * Z / (2 * n)) / (1 + Z * Z / n)
    half = Z / (1 + Z * Z / n) * math.sqrt(share * (1 - share) / n + Z * Z / (4 * n * n))
    return IntervalEstimate(
        share, max(0.0, min(share, centre - half)), min(1.0, max(share, centre + half)), n
    )


def fisher(correlation: float, n: int) -> IntervalEstimate:
    """The interval of a correlation of ``n`` pairs by its inverse hyperbolic tangent (Fisher 1921); from
    4 pairs on, and of a number.
    """
    if n < 4 or not math.isfinite(correlation):
        return UNKNOWN
    centre = math.atanh(max(-1 + 1e-12, min(1 - 1e-12, correlation)))
    low, high = (math.tanh(centre + sign * Z / math.sqrt(n - 3)) for sign in (-1, 1))
    return IntervalEstimate(correlation, min(low, correlation), max(high, correlation), n)


def bootstrap(values: Sequence[float], *, seed: int = 0, resamples: int = 1000) -> IntervalEstimate:
    """The mean with its percentile bootstrap interval (Efron 1979), reproducible for the same arguments."""
    n = len(values)
    if n == 0:
        return UNKNOWN
    x = torch.tensor(values, dtype=torch.float64)
    generator = torch.Generator().manual_seed(seed)
    means = x[torch.randint(n, (resamples, n), generator=generator)].mean(1).sort().values
    low, high = means[int(0.025 * resamples)], means[int(0.975 * resamples) - 1]
    return IntervalEstimate(float(x.mean()), float(low), float(high), n)
