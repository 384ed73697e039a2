"""REINFORCE with PPO's clip and charge, and the batch for a critic."""

from __future__ import annotations

from dataclasses import dataclass, field

from posttrain.core.advantages import returns_to_go, whiten
from posttrain.core.batch import Evaluation, Experience, Rollouts, Term
from posttrain.core.importance import CLIP_FRACTION, Correction, clipped_gain, outside, ratio
from posttrain.core.kl import KL, KLInReward
from posttrain.core.ranges import above_zero, at_least_one
from posttrain.core.reduction import token_mean
from posttrain.policy_gradients.base import POLICY_LOSS, SampledGradient


@dataclass(frozen=True, kw_only=True)
class ReinforcePlusPlus(SampledGradient):
    """Hu et al. 2025.

    ``L = -E[min(r_t A_t, clip(r_t, 1 - c, 1 + c) A_t)]``,
    ``A_t = whiten(R - kl.coef sum_{u >= t} (log pi(a_u) - log reference(a_u)))``

    with R the reward of the row, r the probability ratio of now to before, and whiten to mean 0 and standard
    deviation 1 over all steps of the batch of rollouts; E is the mean over steps. One answer a prompt is
    enough: what an answer is compared with is the whole batch.

    Converges to the KL-regularized optimum ``pi ~ reference * exp(reward / kl.coef)`` where clipping
    vanishes: the deviation scales reward and charge alike, and the mean knows a row itself only as one of
    many, so the bias goes with the size of the batch.
    """

    clip_range: float = 0.2
    """How far from 1 the probability ratio of a step may go before its gain is clipped."""
    kl: KL = field(default_factory=KLInReward)
    correction: Correction | None = None
    epochs: int = 1
    minibatches: int = 4

    whiten = True

    def __post_init__(self) -> None:
        above_zero(self, "clip_range")
        at_least_one(self, "epochs", "minibatches")

    def credit(self, rollouts: Rollouts, before: Evaluation, reference: Evaluation | None) -> Experience:
        """Whitened returns to go, [B, T]."""
        mask = rollouts.action_mask
        returns = returns_to_go(self.charged(rollouts, before, reference), mask)
        return self.experience(rollouts, before, reference, whiten(returns, mask), returns)

    def loss(self, now: Evaluation, experience: Experience) -> dict[str, Term]:
        """The terms of the formula, then what a run reports of them."""
        r = ratio(now.logprobs, experience.before.logprobs, experience.rollouts.action_mask)
        gain = clipped_gain(r, experience.advantages, self.clip_range, self.clip_range)
        terms = {POLICY_LOSS.name: Term(-gain * experience.weights, token_mean)}
        terms |= self.shared_terms(now, experience, token_mean, r)
        return terms | {CLIP_FRACTION.name: outside(r, self.clip_range, self.clip_range)}
