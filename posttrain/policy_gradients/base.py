"""What the policy gradients share: which rows they use, what they need to know of them, and the parts of
credit and loss that follow a method's own formula."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from posttrain.core.advantages import gae, in_company
from posttrain.core.batch import Evaluation, Experience, Reduction, Rollouts, Term, Wants
from posttrain.core.importance import Correction, measured, step_weights
from posttrain.core.kl import KL
from posttrain.core.masked import masked_sum, zero_outside
from posttrain.metrics import declare_metric

POLICY_LOSS = declare_metric(
    "policy_loss",
    "The method's surrogate whose gradient improves the policy; its value measures nothing.",
    unit="advantage, negative",
    better="none",
)
VALUE_LOSS = declare_metric(
    "value_loss",
    "The critic's squared error against the returns, with the factor and weights of the method's formula.",
    unit="squared reward",
    better="down",
    title="Critic: value loss",
    order=11,
)
ENTROPY_BONUS = declare_metric(
    "entropy_bonus",
    "Entropy that the loss rewards, before its coefficient.",
    unit="nats, reduced like the policy's loss",
    better="none",
)


class SampledGradient:
    """A method that learns from the policy's samples and charges KL from a reference."""

    kl: KL
    """How KL from the reference is charged: KLInReward, KLInLoss or KLExact."""
    correction: Correction | None
    """Importance weights of trainer over sampler: Truncated or Masked; none weighs all steps alike."""
    epochs: int
    """How often each batch of answers is learned from; larger reuses answers further from the policy."""
    minibatches: int
    """Updates that a batch is divided into; larger takes more and noisier steps."""
    entropy_coef: float = 0.0
    """Weight of the entropy bonus, per nat of a step's entropy; larger keeps answers more varied."""

    @property
    def wants(self) -> Wants:
        """The reference, and the trainer's own log-probabilities where the sampler's will not do: for a
        second update on the same rows, a correction, or the exact KL."""
        reused = self.epochs * self.minibatches > 1
        return Wants(
            reference=True,
            before=reused or self.correction is not None or self.kl.exact,
            exact_kl=self.kl.exact,
            entropy_gradient=self.entropy_coef != 0,
        )

    def keep(self, rollouts: Rollouts) -> Tensor:
        """[B] bool: all rows."""
        return torch.ones_like(rollouts.truncated)

    def charged(self, rollouts: Rollouts, before: Evaluation, reference: Evaluation | None) -> Tensor:
        """[B, T]: the rewards of each step less its KL charge."""
        return self.kl.charge(rollouts.rewards, before, reference, rollouts.action_mask)

    def row_reward(self, rollouts: Rollouts, before: Evaluation, reference: Evaluation | None) -> Tensor:
        """[B]: the sum of each row's rewards less its KL charge."""
        return masked_sum(self.charged(rollouts, before, reference), rollouts.action_mask)

    def experience(
        self,
        rollouts: Rollouts,
        before: Evaluation,
        reference: Evaluation | None,
        advantages: Tensor,
        returns: Tensor | None = None,
    ) -> Experience:
        """The record of credit: advantages and returns [B, T], with the correction's weights."""
        return Experience(
            rollouts=rollouts,
            before=before,
            reference=reference,
            advantages=advantages,
            returns=returns,
            weights=step_weights(self.correction, before, rollouts),
        )

    def shared_terms(
        self, now: Evaluation, experience: Experience, reduction: Reduction, ratio: Tensor | None = None
    ) -> dict[str, Term]:
        """What follows a method's own terms: the KL's, the entropy bonus, and what a run reports of an
        update. The first two are reduced like the steps' gain; ``ratio`` [B, T] is of now to before."""
        terms = dict(self.kl.terms(now, experience, reduction))
        if self.entropy_coef and now.entropy is not None:
            entropy = zero_outside(now.entropy, experience.rollouts.action_mask)
            terms[ENTROPY_BONUS.name] = Term(entropy, reduction, -self.entropy_coef)
        return terms | measured(now, experience, ratio)


class Grouped(SampledGradient):
    """A method without a critic: the other answers to a prompt are the baseline."""

    @property
    def wants(self) -> Wants:
        """What every method wants, and groups."""
        return replace(super().wants, group=True)

    def keep(self, rollouts: Rollouts) -> Tensor:
        """[B] bool: rows that have others to be compared with."""
        return in_company(rollouts.group)


class WithCritic(SampledGradient):
    """A method whose baseline is learned."""

    gamma: float
    """Discount of a reward that comes a step later; 1 does not discount."""
    gae_lambda: float
    """How far advantages look ahead; 1 is Monte Carlo, 0 trusts the critic's next value alone."""
    bootstrap_truncated: bool
    """Steps beyond a cut are worth what the critic says; false takes a cut answer for finished."""

    @property
    def wants(self) -> Wants:
        """What every method wants, the critic's values, and the trainer's log-probabilities with them."""
        return replace(super().wants, values=True, before=True)

    def advantages_and_returns(
        self, rollouts: Rollouts, before: Evaluation, reference: Evaluation | None
    ) -> tuple[Tensor, Tensor]:
        """[B, T] each: generalized advantages A of rewards less the KL charge, and A + V. Raises ValueError
        where there is no critic."""
        values = self.values_of(before, rollouts.action_mask)
        advantages = gae(
            self.charged(rollouts, before, reference),
            values,
            rollouts.action_mask,
            gamma=self.gamma,
            gae_lambda=self.gae_lambda,
            truncated=rollouts.truncated,
            bootstrap=before.bootstrap if self.bootstrap_truncated else None,
        )
        return advantages, advantages + values

    def values_of(self, evaluation: Evaluation, mask: Tensor) -> Tensor:
        """[B, T]: the critic's values, zero outside the mask. Raises ValueError where there is no critic."""
        if evaluation.values is None:
            raise ValueError(f"{type(self).__name__} needs a critic: evaluate() returned no values")
        return zero_outside(evaluation.values, mask)

    def squared_value_error(self, values: Tensor, experience: Experience) -> Tensor:
        """[B, T]: ``(V - R)^2``. Raises ValueError where credit gave no returns."""
        if experience.returns is None:
            raise ValueError(f"{type(self).__name__} needs the returns that its credit() computes")
        return (values - experience.returns).square()
