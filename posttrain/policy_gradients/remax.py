"""REINFORCE with the greedy answer as its baseline."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from posttrain.core.batch import Evaluation, Experience, Rollouts, Term, Wants
from posttrain.core.importance import Correction
from posttrain.core.kl import KL, KLInReward
from posttrain.core.masked import on_steps, zero_outside
from posttrain.core.reduction import row_total
from posttrain.policy_gradients.base import POLICY_LOSS, SampledGradient


@dataclass(frozen=True, kw_only=True)
class ReMax(SampledGradient):
    """Li et al. 2024.

    ``L = -E[A sum_t log pi(a_t)]``, ``A = R - R_greedy``

    with R the sum of a row's rewards less its KL charge, and R_greedy the reward of the answer that takes the
    likeliest token at each step, to the same prompt; E is the mean over rows. The greedy answer is only
    scored: it is no sample of the policy, so it is neither learned from nor charged KL. One update a batch.

    Converges to the KL-regularized optimum ``pi ~ reference * exp(reward / kl.coef)``: the gradient is
    unbiased, since the greedy answer does not depend on the one that was sampled.
    """

    kl: KL = field(default_factory=KLInReward)
    correction: Correction | None = None

    epochs = 1
    minibatches = 1

    @property
    def wants(self) -> Wants:
        """What every method wants, and the greedy answer's reward."""
        return replace(super().wants, greedy=True)

    def keep(self, rollouts: Rollouts) -> Tensor:
        """[B] bool: rows to whose prompt the greedy answer could be scored."""
        return _greedy(rollouts).isfinite()

    def credit(self, rollouts: Rollouts, before: Evaluation, reference: Evaluation | None) -> Experience:
        """Each row's advantage at each of its steps, [B, T]. Raises ValueError without greedy rewards."""
        total = self.row_reward(rollouts, before, reference)
        greedy = _greedy(rollouts)
        if not bool(greedy.isfinite().all()):
            raise ValueError(
                "ReMax has rows whose greedy answer has no reward: drop those that keep() refuses"
            )
        advantages = on_steps(total - greedy.to(total.dtype), rollouts.action_mask)
        return self.experience(rollouts, before, reference, advantages)

    def loss(self, now: Evaluation, experience: Experience) -> dict[str, Term]:
        """The terms of the formula, then what a run reports of them."""
        logprobs = zero_outside(now.logprobs, experience.rollouts.action_mask)
        terms = {POLICY_LOSS.name: Term(-experience.advantages * logprobs * experience.weights, row_total)}
        return terms | self.shared_terms(now, experience, row_total)


def _greedy(rollouts: Rollouts) -> Tensor:
    """[B]: the baseline of each row."""
    greedy: torch.Tensor | None = rollouts.greedy
    if greedy is None:
        raise ValueError(
            "ReMax needs the reward of a greedy answer to each prompt in Rollouts.greedy: collect with "
            "greedy=True"
        )
    return greedy
