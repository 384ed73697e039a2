"""The sampler and the trainer disagree about the same weights; what a step then counts.

An inference engine's kernels, its precision or stale weights give other log-probabilities than the trainer's.
The ratio trainer / sampler corrects for it; bounded, because it is the rare large one that ruins an update.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from posttrain.core.batch import Evaluation, Experience, Rollouts, Term
from posttrain.core.kl import k3
from posttrain.core.masked import bounded_exp, lengths, masked_sum, on_steps, wide, zero_outside
from posttrain.core.ranges import above_zero
from posttrain.core.reduction import maximum, token_mean
from posttrain.metrics import declare_metric

ENTROPY = declare_metric(
    "entropy",
    "Entropy of the policy's distribution over the next step, in the update's own forward pass.",
    unit="nats per step",
    better="none",
)
APPROX_KL = declare_metric(
    "approx_kl",
    "Estimate (k3) of KL(policy before the batch || policy now), how far the updates on one batch have gone.",
    unit="nats per token",
    better="none",
    title="KL of one update",
    order=13,
)
RATIO_MAX = declare_metric(
    "ratio_max",
    "Largest probability ratio, now to before the batch, of any step of the batch; 1 in its first update.",
    unit="ratio",
    better="none",
    title="Largest probability ratio",
    largest=True,
    order=12,
)
CLIP_FRACTION = declare_metric(
    "clip_fraction",
    "Share of steps whose probability ratio is outside of the clip range.",
    unit="share of tokens",
    better="down",
    title="Clip fraction",
    order=7,
)


def _ratio(trainer: Tensor, sampler: Tensor, mask: Tensor) -> Tensor:
    """[B, T]: trainer / sampler; 1 where the sampler's is unknown, 0 outside the mask."""
    both = mask & sampler.isfinite()
    return bounded_exp(zero_outside(trainer, both) - zero_outside(sampler, both)) * mask


@dataclass(frozen=True, kw_only=True)
class Truncated:
    """``min(trainer / sampler, cap)`` of each step (Ionides 2008; for language, Yao et al. 2025)."""

    cap: float = 2.0
    """Largest weight of a step, as the ratio of trainer to sampler probability; larger cuts fewer weights."""

    def __post_init__(self) -> None:
        above_zero(self, "cap")

    def weights(self, trainer: Tensor, sampler: Tensor, mask: Tensor) -> Tensor:
        """[B, T] log-probabilities of both -> [B, T]: what each step counts; 0 outside the mask."""
        return _ratio(trainer, sampler, mask).clamp(max=self.cap)


@dataclass(frozen=True, kw_only=True)
class Masked:
    """The ratio where it is within bounds; a step beyond them is dropped (weight 0), its denominator kept."""

    low: float = 0.5
    """Steps whose ratio of trainer to sampler probability is below this are dropped from the loss."""
    high: float = 2.0
    """Steps whose ratio of trainer to sampler probability is above this are dropped from the loss."""

    def __post_init__(self) -> None:
        if not 0 <= self.low <= 1 <= self.high:
            raise ValueError(f"Masked keeps ratios from low={self.low} to high={self.high}: 1 is not between")

    def weights(self, trainer: Tensor, sampler: Tensor, mask: Tensor) -> Tensor:
        """[B, T] log-probabilities of both -> [B, T]: what each step counts; 0 outside the mask."""
        ratio = _ratio(trainer, sampler, mask)
        return torch.where((ratio >= self.low) & (ratio <= self.high), ratio, ratio.new_zeros(()))


Correction = Truncated | Masked


def step_weights(correction: Correction | None, before: Evaluation, rollouts: Rollouts) -> Tensor:
    """[B, T]: what each step counts: 1, or what the correction makes of it; 0 outside the mask."""
    mask = rollouts.action_mask
    if correction is None:
        return mask.to(before.logprobs.dtype)
    return correction.weights(before.logprobs, rollouts.logprobs, mask).to(before.logprobs.dtype)


def ratio(now: Tensor, before: Tensor, mask: Tensor) -> Tensor:
    """[B, T] log-probabilities of both -> [B, T]: now / before of each step; 1 outside the mask."""
    return bounded_exp(zero_outside(now, mask) - zero_outside(before, mask))


def sequence_ratio(now: Tensor, before: Tensor, mask: Tensor) -> Tensor:
    """[B, T]: the geometric mean of a row's ratios (GSPO, Zheng et al. 2025, eq. 7), at each of its steps.

    Every step of a row has the value ``s = exp(mean_t(now - before))`` and the gradient ``s`` times that of
    its log-probability (eq. 14, GSPO-token), so the mean over a row's steps has the gradient of ``s``.
    Outside the mask the ratio is 1.
    """
    logprobs = zero_outside(now, mask)
    difference = masked_sum((logprobs - zero_outside(before, mask)).detach(), mask)
    mean = on_steps(difference / lengths(mask).clamp(min=1), mask)
    return bounded_exp(mean + logprobs - logprobs.detach())


def clipped_gain(ratio: Tensor, advantages: Tensor, low: float, high: float) -> Tensor:
    """[B, T]: ``min(r A, clip(r, 1 - low, 1 + high) A)`` (PPO, Schulman et al. 2017, eq. 7)."""
    return torch.minimum(ratio * advantages, ratio.clamp(1 - low, 1 + high) * advantages)


def measured(now: Evaluation, experience: Experience, ratio: Tensor | None = None) -> dict[str, Term]:
    """What a run reports of an update: ``entropy``, and ``approx_kl`` and ``ratio_max`` where there is a
    ratio [B, T] of now to before."""
    mask = experience.rollouts.action_mask
    terms = {}
    with torch.no_grad():
        if now.entropy is not None:
            terms[ENTROPY.name] = Term(zero_outside(now.entropy, mask), token_mean, 0.0)
        if ratio is not None:
            before = zero_outside(experience.before.logprobs, mask)
            terms[APPROX_KL.name] = Term(k3(before, zero_outside(now.logprobs, mask)), token_mean, 0.0)
            terms[RATIO_MAX.name] = Term(ratio.detach(), maximum, 0.0)
    return terms


def outside(ratio: Tensor, low: float, high: float) -> Term:
    """The metric ``clip_fraction``: how many steps have a ratio [B, T] outside 1 - low and 1 + high."""
    beyond = (ratio.detach() < 1 - low) | (ratio.detach() > 1 + high)
    return Term(beyond.to(ratio.dtype), token_mean, 0.0)


def effective_sample_size(weights: Tensor, mask: Tensor) -> Tensor:
    """[]: ``(sum w)^2 / (n sum w^2)`` over n chosen steps (Kish 1965): 1 where all count alike."""
    inside = wide(zero_outside(weights, mask))
    spread = inside.square().sum() * mask.sum()
    return inside.sum().square() / spread.clamp(min=torch.finfo(inside.dtype).tiny)
