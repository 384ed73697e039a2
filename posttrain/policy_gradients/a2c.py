"""Advantage actor-critic, in step."""

from __future__ import annotations

from dataclasses import dataclass, field

from posttrain.core.batch import Evaluation, Experience, Rollouts, Term
from posttrain.core.importance import Correction
from posttrain.core.kl import KL, KLInReward
from posttrain.core.masked import zero_outside
from posttrain.core.ranges import fraction, not_negative
from posttrain.core.reduction import token_mean
from posttrain.policy_gradients.base import POLICY_LOSS, VALUE_LOSS, WithCritic


@dataclass(frozen=True, kw_only=True)
class A2C(WithCritic):
    """Mnih et al. 2016, its synchronous form.

    ``L = -E[A log pi(a)] + vf_coef E[(V - R)^2] / 2 - entropy_coef E[H]``

    with A from generalized advantage estimation (Schulman et al. 2016) on rewards less the KL charge, which
    with gae_lambda=1 is the return to the end less V, and R = A + V; E is the mean over chosen steps. One
    update a batch: there is no ratio that would correct a second one.

    Converges to the KL-regularized optimum ``pi ~ reference * exp(reward / kl.coef)`` where entropy_coef is 0
    and, for gae_lambda < 1, the critic's error vanishes; an entropy bonus is a second KL, from uniform.
    """

    gamma: float = 1.0
    gae_lambda: float = 1.0
    vf_coef: float = 0.5
    """Weight of the critic's squared error in the loss; critic and policy may share a trunk."""
    entropy_coef: float = 0.0
    kl: KL = field(default_factory=KLInReward)
    bootstrap_truncated: bool = False  # a cut completion is scored as it stands; CartPole would have gone on
    correction: Correction | None = None

    epochs = 1
    minibatches = 1

    def __post_init__(self) -> None:
        fraction(self, "gamma", "gae_lambda")
        not_negative(self, "vf_coef", "entropy_coef")

    def credit(self, rollouts: Rollouts, before: Evaluation, reference: Evaluation | None) -> Experience:
        """Advantages and returns, [B, T] each."""
        advantages, returns = self.advantages_and_returns(rollouts, before, reference)
        return self.experience(rollouts, before, reference, advantages, returns)

    def loss(self, now: Evaluation, experience: Experience) -> dict[str, Term]:
        """The terms of the formula, then what a run reports of them."""
        mask = experience.rollouts.action_mask
        gain = experience.advantages * zero_outside(now.logprobs, mask)
        error = self.squared_value_error(self.values_of(now, mask), experience) / 2
        terms = {
            POLICY_LOSS.name: Term(-gain * experience.weights, token_mean),
            VALUE_LOSS.name: Term(error * experience.weights, token_mean, self.vf_coef),
        }
        return terms | self.shared_terms(now, experience, token_mean)
