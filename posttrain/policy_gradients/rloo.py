"""REINFORCE leave-one-out."""

from __future__ import annotations

from dataclasses import dataclass, field

from posttrain.core.advantages import leave_one_out
from posttrain.core.batch import Evaluation, Experience, Rollouts, Term
from posttrain.core.importance import Correction
from posttrain.core.kl import KL, KLInReward
from posttrain.core.masked import on_steps, zero_outside
from posttrain.core.reduction import row_total
from posttrain.policy_gradients.base import POLICY_LOSS, Grouped


@dataclass(frozen=True, kw_only=True)
class RLOO(Grouped):
    """Kool et al. 2019, for language Ahmadian et al. 2024.

    ``L = -E[A sum_t log pi(a_t)]``, ``A_i = R_i - mean_{j != i} R_j``

    over the answers j to the same prompt, with R the sum of a row's rewards less its KL charge; E is the mean
    over rows. A whole row is one action. One update a batch: there is no ratio that would correct a second.

    Converges to the KL-regularized optimum ``pi ~ reference * exp(reward / kl.coef)``: the gradient is
    unbiased, since the others know nothing of the row they are compared with.
    """

    kl: KL = field(default_factory=KLInReward)
    correction: Correction | None = None

    epochs = 1
    minibatches = 1

    def credit(self, rollouts: Rollouts, before: Evaluation, reference: Evaluation | None) -> Experience:
        """The advantage of each row at each of its steps, [B, T]. Raises ValueError for a row alone."""
        total = self.row_reward(rollouts, before, reference)
        advantages = on_steps(leave_one_out(total, rollouts.group), rollouts.action_mask)
        return self.experience(rollouts, before, reference, advantages)

    def loss(self, now: Evaluation, experience: Experience) -> dict[str, Term]:
        """The terms of the formula, then what a run reports of them."""
        logprobs = zero_outside(now.logprobs, experience.rollouts.action_mask)
        terms = {POLICY_LOSS.name: Term(-experience.advantages * logprobs * experience.weights, row_total)}
        return terms | self.shared_terms(now, experience, row_total)
