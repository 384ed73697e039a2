"""Clipped importance sampling policy optimization."""

from __future__ import annotations

from dataclasses import dataclass, field

from posttrain.core.advantages import group_centred
from posttrain.core.batch import Evaluation, Experience, Rollouts, Term
from posttrain.core.importance import CLIP_FRACTION, Correction, outside, ratio
from posttrain.core.kl import KL, KLInReward
from posttrain.core.masked import on_steps, zero_outside
from posttrain.core.ranges import above_zero, at_least_one, fraction
from posttrain.core.reduction import token_mean
from posttrain.policy_gradients.base import POLICY_LOSS, Grouped


@dataclass(frozen=True, kw_only=True)
class CISPO(Grouped):
    """MiniMax 2025 (MiniMax-M1), eq. 4 and 5.

    ``L = -E[sg(clip(r_t, 1 - clip_range, 1 + clip_range_high)) A log pi(a_t)]``,
    ``A = (R - mean(R)) / std(R)``

    over the answers to the same prompt, with R the sum of a row's rewards, r the probability ratio of now to
    before and sg without gradient; E is the mean over all steps. The weight of a step is clipped, not its
    gradient, so no step is silenced. The paper sets no lower bound (``clip_range=1``) and tunes the upper.

    Converges to something else than the KL-regularized optimum: no KL is charged in the paper
    (``kl.coef=0``), and the standard deviation weighs prompts anew. With ``kl=KLInReward()`` the optimum
    ``pi ~ reference * exp(reward / kl.coef)`` is a fixed point, as for GRPO.
    """

    clip_range: float = 1.0
    """Lowest weight of a step is 1 less this; 1 sets no lower bound."""
    clip_range_high: float = 4.0
    """Highest weight of a step is 1 plus this; larger cuts fewer weights."""
    std: bool = True
    """Advantages are divided by the standard deviation of the group's rewards."""
    kl: KL = field(default_factory=lambda: KLInReward(coef=0.0))
    correction: Correction | None = None
    epochs: int = 1
    minibatches: int = 4

    def __post_init__(self) -> None:
        fraction(self, "clip_range")
        above_zero(self, "clip_range", "clip_range_high")
        at_least_one(self, "epochs", "minibatches")

    def credit(self, rollouts: Rollouts, before: Evaluation, reference: Evaluation | None) -> Experience:
        """The advantage of each row at each of its steps, [B, T]. Raises ValueError for a row alone."""
        total = self.row_reward(rollouts, before, reference)
        advantages = on_steps(group_centred(total, rollouts.group, std=self.std), rollouts.action_mask)
        return self.experience(rollouts, before, reference, advantages)

    def loss(self, now: Evaluation, experience: Experience) -> dict[str, Term]:
        """The terms of the formula, then what a run reports of them."""
        mask = experience.rollouts.action_mask
        r = ratio(now.logprobs, experience.before.logprobs, mask).detach()
        weight = r.clamp(1 - self.clip_range, 1 + self.clip_range_high)
        gain = weight * experience.advantages * zero_outside(now.logprobs, mask)
        terms = {POLICY_LOSS.name: Term(-gain * experience.weights, token_mean)}
        terms |= self.shared_terms(now, experience, token_mean, r)
        return terms | {CLIP_FRACTION.name: outside(r, self.clip_range, self.clip_range_high)}
