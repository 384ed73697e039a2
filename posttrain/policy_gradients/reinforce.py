"""REINFORCE, with and without a baseline."""

from __future__ import annotations

from dataclasses import dataclass, field

from posttrain.core.advantages import others_mean, returns_to_go
from posttrain.core.batch import Evaluation, Experience, Rollouts, Term
from posttrain.core.importance import Correction
from posttrain.core.kl import KL, KLInReward
from posttrain.core.masked import zero_outside
from posttrain.core.ranges import fraction, not_negative
from posttrain.core.reduction import row_total
from posttrain.policy_gradients.base import POLICY_LOSS, SampledGradient


@dataclass(frozen=True, kw_only=True)
class Reinforce(SampledGradient):
    """Williams 1992.

    ``L = -E[sum_t (G_t - b_t) log pi(a_t)] - entropy_coef E[sum_t H_t]``,
    ``G_t = sum_{u >= t} gamma^(u - t) r_u``

    with r the rewards less the KL charge; E is the mean over rows. b_t is the mean of G over the other rows
    at the same step, or 0 without ``baseline``; no action of the row itself moves it. (A baseline that is
    learned is A2C with gae_lambda=1.) One update a batch: the formula holds for samples of the policy itself.

    Converges to the KL-regularized optimum ``pi ~ reference * exp(reward / kl.coef)``; the gradient is
    unbiased with gamma=1, with or without the baseline.
    """

    gamma: float = 1.0
    """Discount of a reward that comes a step later; 1 does not discount."""
    baseline: bool = True
    """Returns are taken less the mean of the other rows at the same step; false has more variance."""
    kl: KL = field(default_factory=KLInReward)
    entropy_coef: float = 0.0
    correction: Correction | None = None

    epochs = 1
    minibatches = 1

    def __post_init__(self) -> None:
        fraction(self, "gamma")
        not_negative(self, "entropy_coef")

    def credit(self, rollouts: Rollouts, before: Evaluation, reference: Evaluation | None) -> Experience:
        """Returns to go less the baseline, [B, T]."""
        mask = rollouts.action_mask
        returns = returns_to_go(self.charged(rollouts, before, reference), mask, self.gamma)
        advantages = returns - others_mean(returns, mask) if self.baseline else returns
        return self.experience(rollouts, before, reference, advantages, returns)

    def loss(self, now: Evaluation, experience: Experience) -> dict[str, Term]:
        """The terms of the formula, then what a run reports of them."""
        logprobs = zero_outside(now.logprobs, experience.rollouts.action_mask)
        terms = {POLICY_LOSS.name: Term(-experience.advantages * logprobs * experience.weights, row_total)}
        return terms | self.shared_terms(now, experience, row_total)
