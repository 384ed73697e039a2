"""The sampler and the trainer disagree about the same weights; what a step then counts.

An inference engine's kernels, its precision or stale weights give other log-probabilities than the trainer's.
The ratio trainer / sampler corrects for it; bounded, because it is the rare large one that ruins an update.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from posttrain.core.masked import wide, zero_outside


def _ratio(trainer: Tensor, sampler: Tensor, mask: Tensor) -> Tensor:
    """[B, T]: trainer / sampler; 1 where the sampler's is unknown, 0 outside the mask."""
    known = mask & sampler.isfinite()
    return (zero_outside(trainer, known) - zero_outside(sampler, known)).exp() * mask


@dataclass(frozen=True, kw_only=True)
class Truncated:
    """``min(trainer / sampler, cap)`` of each step (Ionides 2008; for language, Yao et al. 2025)."""

    cap: float = 2.0

    def weights(self, trainer: Tensor, sampler: Tensor, mask: Tensor) -> Tensor:
        """[B, T] log-probabilities of both -> [B, T]: what each step counts; 0 outside the mask."""
        return _ratio(trainer, sampler, mask).clamp(max=self.cap)


@dataclass(frozen=True, kw_only=True)
class Masked:
    """The ratio where it is within bounds; a step beyond them is dropped (weight 0), its denominator kept."""

    low: float = 0.5
    high: float = 2.0

    def weights(self, trainer: Tensor, sampler: Tensor, mask: Tensor) -> Tensor:
        """[B, T] log-probabilities of both -> [B, T]: what each step counts; 0 outside the mask."""
        ratio = _ratio(trainer, sampler, mask)
        return torch.where((ratio >= self.low) & (ratio <= self.high), ratio, ratio.new_zeros(()))


Correction = Truncated | Masked


def effective_sample_size(weights: Tensor, mask: Tensor) -> Tensor:
    """[]: ``(sum w)^2 / (n sum w^2)`` over n chosen steps (Kish 1965): 1 where all count alike."""
    inside = wide(zero_outside(weights, mask))
    spread = inside.square().sum() * mask.sum()
    return inside.sum().square() / spread.clamp(min=torch.finfo(inside.dtype).tiny)
