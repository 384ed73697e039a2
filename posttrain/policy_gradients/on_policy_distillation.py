"""Distillation on the student's own samples."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import torch

from posttrain.core.advantages import returns_to_go
from posttrain.core.batch import Evaluation, Experience, Rollouts, Term, Wants
from posttrain.core.importance import Correction
from posttrain.core.kl import KL, KLInReward
from posttrain.core.masked import zero_outside
from posttrain.core.ranges import fraction, not_negative
from posttrain.core.reduction import token_mean
from posttrain.policy_gradients.base import POLICY_LOSS, SampledGradient


@dataclass(frozen=True, kw_only=True)
class OnPolicyDistillation(SampledGradient):
    """Distillation on the student's samples (Agarwal et al. 2024, Gu et al. 2024, Lu 2025).

    The reference is the teacher, and the loss that of on-policy GKD with reverse KL:

    ``L = -E[A_t log pi(a_t)]``, ``A_t = sum_{u >= t} gamma^(u - t) (log teacher(a_u) - log pi(a_u))``

    with E the mean over steps: the same loop with KL(policy||teacher) for a reward. With gamma=0, the
    default, a step is credited with its own divergence only. ``kl=KLExact(coef=1)`` takes each step's whole
    distribution instead of the sampled token, ``L = E[KL_t] + E[A_t log pi(a_t)]`` with A_t of the later
    steps' KL (none for gamma=0). The environment's reward is added ``reward_coef`` times. One update a batch.

    Converges to the teacher where the student can represent it. Otherwise gamma=1 has the gradient of
    KL(policy||teacher) of whole answers; gamma=0 that of each step's KL on the states that the student
    visits, which ignores a step's later effects and has much less variance.
    """

    gamma: float = 0.0
    """Discount of later divergence from the teacher; 0 has each step answer for its own alone."""
    reward_coef: float = 0.0
    """Factor of the reward source's reward beside the divergence; 0 learns from the teacher alone."""
    kl: KL = field(default_factory=lambda: KLInReward(coef=1.0))
    """How KL from the teacher is charged: KLInReward by the drawn token, KLExact by the distribution."""
    correction: Correction | None = None

    epochs = 1
    minibatches = 1

    def __post_init__(self) -> None:
        fraction(self, "gamma")
        not_negative(self, "reward_coef")
        if self.kl.coef == 0:
            raise ValueError(
                "OnPolicyDistillation.kl.coef is 0, and then nothing is learned from the teacher"
            )

    @property
    def wants(self) -> Wants:
        """What every method wants; the reference is the teacher."""
        return replace(super().wants, teacher=True)

    def credit(self, rollouts: Rollouts, before: Evaluation, reference: Evaluation | None) -> Experience:
        """What each step was worth to the teacher, [B, T]."""
        mask = rollouts.action_mask
        earned = self.reward_coef * returns_to_go(rollouts.rewards, mask)
        paid = self.kl.charge(torch.zeros_like(rollouts.rewards), before, reference, mask)
        later = self.gamma if self.kl.exact else 1.0  # the exact charge of a step is that of the next one
        advantages = earned + later * returns_to_go(paid, mask, self.gamma)
        return self.experience(rollouts, before, reference, advantages)

    def loss(self, now: Evaluation, experience: Experience) -> dict[str, Term]:
        """The terms of the formula, then what a run reports of them."""
        logprobs = zero_outside(now.logprobs, experience.rollouts.action_mask)
        terms = {POLICY_LOSS.name: Term(-experience.advantages * logprobs * experience.weights, token_mean)}
        return terms | self.shared_terms(now, experience, token_mean)
