"""Advantage actor-critic, in step."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor

from posttrain.core.advantages import gae
from posttrain.core.batch import Evaluation, Experience, Rollouts, Term, Wants
from posttrain.core.importance import Correction, measured, step_weights
from posttrain.core.kl import KL, KLInReward
from posttrain.core.masked import zero_outside
from posttrain.core.ranges import fraction, not_negative
from posttrain.core.reduction import token_mean


@dataclass(frozen=True, kw_only=True)
class A2C:
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
    entropy_coef: float = 0.0
    kl: KL = field(default_factory=KLInReward)
    bootstrap_truncated: bool = False  # a cut completion is scored as it stands; CartPole would have gone on
    correction: Correction | None = None

    epochs = 1
    minibatches = 1

    def __post_init__(self) -> None:
        fraction(self, "gamma", "gae_lambda")
        not_negative(self, "vf_coef", "entropy_coef")

    @property
    def wants(self) -> Wants:
        """A critic and the reference; gradients of the entropy only where there is a bonus."""
        return Wants(
            values=True, reference=True, exact_kl=self.kl.exact, entropy_gradient=self.entropy_coef != 0
        )

    def keep(self, rollouts: Rollouts) -> Tensor:
        """[B] bool: all rows."""
        return torch.ones_like(rollouts.truncated)

    def credit(self, rollouts: Rollouts, before: Evaluation, reference: Evaluation | None) -> Experience:
        """Advantages and returns, [B, T] each."""
        mask = rollouts.action_mask
        if before.values is None:
            raise ValueError("A2C needs a critic: evaluate() returned no values")
        values = zero_outside(before.values, mask)
        advantages = gae(
            self.kl.charge(rollouts.rewards, before, reference, mask),
            values,
            mask,
            gamma=self.gamma,
            gae_lambda=self.gae_lambda,
            truncated=rollouts.truncated,
            bootstrap=before.bootstrap if self.bootstrap_truncated else None,
        )
        return Experience(
            rollouts=rollouts,
            before=before,
            reference=reference,
            advantages=advantages,
            returns=advantages + values,
            weights=step_weights(self.correction, before, rollouts),
        )

    def loss(self, now: Evaluation, past: Experience) -> dict[str, Term]:
        """The terms of the formula, then what a run reports of them."""
        if now.values is None or past.returns is None:
            raise ValueError("A2C needs a critic: evaluate() returned no values")
        mask = past.rollouts.action_mask
        gain = past.advantages * zero_outside(now.logprobs, mask)
        error = (zero_outside(now.values, mask) - past.returns).square() / 2
        terms = {
            "policy_loss": Term(-gain * past.weights, token_mean),
            "value_loss": Term(error * past.weights, token_mean, self.vf_coef),
        }
        terms |= self.kl.terms(now, past) | measured(now, past)
        if self.entropy_coef and now.entropy is not None:
            entropy = zero_outside(now.entropy, mask)
            terms["entropy_bonus"] = Term(entropy, token_mean, -self.entropy_coef)
        return terms
