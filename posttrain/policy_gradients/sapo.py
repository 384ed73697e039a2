"""Soft adaptive policy optimization."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch

from posttrain.core.advantages import group_centred
from posttrain.core.batch import Evaluation, Experience, Rollouts, Term
from posttrain.core.importance import Correction, ratio
from posttrain.core.kl import KL, KLInReward
from posttrain.core.masked import on_steps
from posttrain.core.ranges import above_zero, at_least_one
from posttrain.core.reduction import sequence_mean
from posttrain.policy_gradients.base import POLICY_LOSS, Grouped


@dataclass(frozen=True, kw_only=True)
class SAPO(Grouped):
    """Gao et al. 2025, "Soft adaptive policy optimization".

    ``L = -E[mean_t f(r_t) A]``, ``f(r) = sigmoid(tau (r - 1)) 4 / tau``, ``A = (R - mean(R)) / std(R)``

    over the answers to the same prompt, with R the sum of a row's rewards, r the probability ratio of now to
    before, and tau one number for positive and another for negative advantages; E is the mean over rows. The
    gradient of f is 1 at r = 1, where it is that of GRPO, and fades on both sides instead of being cut off;
    faster for negative advantages, which raise every token that was not chosen.

    Converges to something else than the KL-regularized optimum: no KL is charged by default
    (``kl.coef=0``), the standard deviation weighs prompts anew, and each row is divided by its length. With
    ``kl=KLInReward()`` the optimum ``pi ~ reference * exp(reward / kl.coef)`` is a fixed point, as for GRPO.
    """

    tau: float = 1.0
    """Steepness of the gate for positive advantages; larger lets gradients fade closer to a ratio of 1."""
    tau_negative: float = 1.05
    """Steepness of the gate for negative advantages, which raise every token that was not chosen."""
    std: bool = True
    """Advantages are divided by the standard deviation of the group's rewards."""
    kl: KL = field(default_factory=lambda: KLInReward(coef=0.0))
    correction: Correction | None = None
    epochs: int = 1
    minibatches: int = 4

    def __post_init__(self) -> None:
        above_zero(self, "tau", "tau_negative")
        at_least_one(self, "epochs", "minibatches")

    def credit(self, rollouts: Rollouts, before: Evaluation, reference: Evaluation | None) -> Experience:
        """The advantage of each row at each of its steps, [B, T]. Raises ValueError for a row alone."""
        total = self.row_reward(rollouts, before, reference)
        advantages = on_steps(group_centred(total, rollouts.group, std=self.std), rollouts.action_mask)
        return self.experience(rollouts, before, reference, advantages)

    def loss(self, now: Evaluation, experience: Experience) -> dict[str, Term]:
        """The terms of the formula, then what a run reports of them."""
        r = ratio(now.logprobs, experience.before.logprobs, experience.rollouts.action_mask)
        tau = torch.where(experience.advantages > 0, r.new_tensor(self.tau), r.new_tensor(self.tau_negative))
        gain = (tau * (r - 1)).sigmoid() * 4 / tau * experience.advantages
        terms = {POLICY_LOSS.name: Term(-gain * experience.weights, sequence_mean)}
        return terms | self.shared_terms(now, experience, sequence_mean, r)
