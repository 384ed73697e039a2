"""GRPO done right: without its two biases."""

from __future__ import annotations

from dataclasses import dataclass, field

from posttrain.core.advantages import group_centred
from posttrain.core.batch import Evaluation, Experience, Rollouts, Term
from posttrain.core.importance import CLIP_FRACTION, Correction, clipped_gain, outside, ratio
from posttrain.core.kl import KL, KLInReward
from posttrain.core.masked import on_steps
from posttrain.core.ranges import above_zero, at_least_one
from posttrain.core.reduction import constant_length
from posttrain.policy_gradients.base import POLICY_LOSS, Grouped


@dataclass(frozen=True, kw_only=True)
class DrGRPO(Grouped):
    """Liu et al. 2025, "Understanding R1-Zero-like training".

    ``L = -E[sum_t min(r_t A, clip(r_t, 1 - c, 1 + c) A)] / max_length``, ``A = R - mean(R)``

    over the answers to the same prompt, with R the sum of a row's rewards less its KL charge and r the
    probability ratio of now to before; E is the mean over rows. The sum over steps is divided by one constant
    for all rows, whatever their length and however wide the batch: it only scales the learning rate.

    Converges to the KL-regularized optimum ``pi ~ reference * exp(reward / kl.coef)`` where clipping
    vanishes; the gradient is the unbiased one times (n - 1) / n for groups of n. The paper charges no KL
    (``kl.coef=0``), which is its default here: it then goes on to the answer with the highest reward.
    """

    clip_range: float = 0.2
    """How far from 1 the probability ratio of a step may go before its gain is clipped."""
    max_length: int = 64
    """The constant that each row's sum over steps is divided by; it scales the learning rate alone."""
    kl: KL = field(default_factory=lambda: KLInReward(coef=0.0))
    correction: Correction | None = None
    epochs: int = 1
    minibatches: int = 1

    def __post_init__(self) -> None:
        above_zero(self, "clip_range")
        at_least_one(self, "max_length", "epochs", "minibatches")

    def credit(self, rollouts: Rollouts, before: Evaluation, reference: Evaluation | None) -> Experience:
        """The advantage of each row at each of its steps, [B, T]. Raises ValueError for a row alone."""
        total = self.row_reward(rollouts, before, reference)
        advantages = on_steps(group_centred(total, rollouts.group), rollouts.action_mask)
        return self.experience(rollouts, before, reference, advantages)

    def loss(self, now: Evaluation, experience: Experience) -> dict[str, Term]:
        """The terms of the formula, then what a run reports of them."""
        reduction = constant_length(self.max_length)
        r = ratio(now.logprobs, experience.before.logprobs, experience.rollouts.action_mask)
        gain = clipped_gain(r, experience.advantages, self.clip_range, self.clip_range)
        terms = {POLICY_LOSS.name: Term(-gain * experience.weights, reduction)}
        terms |= self.shared_terms(now, experience, reduction, r)
        return terms | {CLIP_FRACTION.name: outside(r, self.clip_range, self.clip_range)}
