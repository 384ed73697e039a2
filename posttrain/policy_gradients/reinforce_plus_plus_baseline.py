"""REINFORCE++ with the mean of the prompt's answers as a baseline."""

from __future__ import annotations

from dataclasses import dataclass, field

from posttrain.core.advantages import group_centred, whiten
from posttrain.core.batch import Evaluation, Experience, Rollouts, Term
from posttrain.core.importance import Correction, clipped_gain, outside, ratio
from posttrain.core.kl import KL, KLInLoss
from posttrain.core.masked import on_steps
from posttrain.core.ranges import above_zero, at_least_one
from posttrain.core.reduction import token_mean
from posttrain.policy_gradients.base import Grouped


@dataclass(frozen=True, kw_only=True)
class ReinforcePlusPlusBaseline(Grouped):
    """Hu et al. 2025, the variant for several answers a prompt.

    ``L = -E[min(r_t A, clip(r_t, 1 - c, 1 + c) A)] + kl.coef E[k2_t]``, ``A = whiten(R - mean(R))``

    with mean over the answers to the same prompt, whiten over all steps of the batch of rollouts, R the sum
    of a row's rewards and r the probability ratio of now to before; E is the mean over steps.

    Converges to the answers with the highest reward where nothing stops it: the reward is divided by the
    batch's deviation and the KL in the loss is not, so the price of KL is ``kl.coef * std`` in units of
    reward, the same for all prompts; and the surer the policy, the smaller the deviation. With
    ``kl=KLInReward()`` both are divided and the optimum is ``pi ~ reference * exp(reward / kl.coef)``.
    """

    clip_range: float = 0.2
    """How far from 1 the probability ratio of a step may go before its gain is clipped."""
    kl: KL = field(default_factory=KLInLoss)
    correction: Correction | None = None
    epochs: int = 1
    minibatches: int = 4

    whiten = True

    def __post_init__(self) -> None:
        above_zero(self, "clip_range")
        at_least_one(self, "epochs", "minibatches")

    def credit(self, rollouts: Rollouts, before: Evaluation, reference: Evaluation | None) -> Experience:
        """The whitened advantage of each row at each of its steps, [B, T]. Raises ValueError for a row
        alone."""
        total = self.row_reward(rollouts, before, reference)
        mask = rollouts.action_mask
        advantages = whiten(on_steps(group_centred(total, rollouts.group), mask), mask)
        return self.experience(rollouts, before, reference, advantages)

    def loss(self, now: Evaluation, past: Experience) -> dict[str, Term]:
        """The terms of the formula, then what a run reports of them."""
        r = ratio(now.logprobs, past.before.logprobs, past.rollouts.action_mask)
        gain = clipped_gain(r, past.advantages, self.clip_range, self.clip_range)
        terms = {"policy_loss": Term(-gain * past.weights, token_mean)}
        terms |= self.shared_terms(now, past, token_mean, r)
        return terms | {"clip_fraction": outside(r, self.clip_range, self.clip_range)}
