"""How far the policy went from the reference, and what it pays for it.

KL without a qualifier is KL(policy || reference) per completion, in nats. A KL is a value: ``charge`` changes
rewards, ``terms`` adds to the loss; a method calls both, so the sign is written here and nowhere else.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from posttrain.core.batch import Evaluation, Experience, Reduction, Term
from posttrain.core.masked import bounded_exp, zero_outside
from posttrain.core.reduction import token_mean
from posttrain.metrics import declare_metric

KL_LOSS = declare_metric(
    "kl_loss",
    "KL from the reference that is added to the loss, estimated on a step's token or exact, before its "
    "coefficient.",
    unit="nats, reduced like the policy's loss",
    better="down",
)

Estimator = Callable[[Tensor, Tensor], Tensor]


def k1(policy: Tensor, reference: Tensor) -> Tensor:
    """Unbiased, high variance, can be negative: ``log p - log q`` of samples from p (Schulman 2020)."""
    return policy - reference


def k2(policy: Tensor, reference: Tensor) -> Tensor:
    """``(log p - log q)^2 / 2``: a biased value; on samples of p its gradient is that of the step's KL."""
    return (policy - reference).square() / 2


def k3(policy: Tensor, reference: Tensor) -> Tensor:
    """``q/p - 1 - log(q/p)``: unbiased, never negative; as a loss its gradient is that of KL(q || p)."""
    difference = reference - policy
    near = difference.clamp(max=1.0)  # expm1 is exact near 0, where most steps are
    return torch.where(difference > 1, bounded_exp(difference) - 1, near.expm1()) - difference


def exact(policy_logits: Tensor, reference_logits: Tensor) -> Tensor:
    """[..., V] logits or log-probabilities of both -> [...]: KL of the categorical distributions, in nats."""
    policy, reference = policy_logits.log_softmax(-1), reference_logits.log_softmax(-1)
    return (policy.exp() * (policy - reference)).sum(-1)


def best_of_n(n: int) -> float:
    """KL of best-of-n sampling from its base, ``log n - (n - 1) / n`` nats; with ties an upper bound."""
    if n < 1:
        raise ValueError(f"best-of-n needs n >= 1, not {n}")
    return math.log(n) - (n - 1) / n


def _check(coef: float, method: str) -> None:
    if not 0 <= coef < math.inf:
        raise ValueError(f"{method}.coef is {coef}, expected 0 or more: below 0 it would pay for going away")


def _of(reference: Evaluation | None, method: str) -> Evaluation:
    if reference is None:
        raise ValueError(f"{method} compares with a reference, and there is none: give one, or set coef to 0")
    return reference


def _exact(evaluation: Evaluation) -> Tensor:
    if evaluation.kl is None:
        raise ValueError("KLExact needs evaluate(..., against=reference) to return kl, and it is None")
    return evaluation.kl


@dataclass(frozen=True, kw_only=True)
class KLInReward:
    """Every step pays ``coef`` times its estimate as a negative reward (Ziegler et al. 2019, eq. 2).

    With k1 the expected charge of a completion is ``coef * KL``, gradient included. ``power`` adds
    ``-(power - 1) * log q`` to the estimate, which makes it the KL from ``q ** power``, up to a constant of
    the prompt; with k1 the optimum is ``q ** power * exp(reward / coef)``. Above 1, where the reward is
    indifferent, answers that the reference finds likely are preferred; and as every step costs something,
    answers are shorter. The KL that a run reports, and that a KL controller reads, is from ``q`` itself. It
    never falls below the KL of the normalised ``q ** power`` from ``q``, however large ``coef`` is.
    """

    coef: float = 0.05
    """Price of one nat of KL from the reference, in units of reward; larger keeps the policy closer."""
    estimator: Estimator = k1
    """Estimate of a step's KL from its log-ratio: k1 (unbiased), k2 or k3 (Schulman 2020)."""
    power: float = field(default=1.0, metadata={"later": True})
    """The reference is raised to this power before KL is taken from it; above 1 likely answers count more."""

    exact = False

    def __post_init__(self) -> None:
        _check(self.coef, "KLInReward")
        if not 0 < self.power < math.inf:
            raise ValueError(
                f"KLInReward.power is {self.power}, expected above 0: 1 is the reference as it is"
            )

    def charge(
        self, rewards: Tensor, before: Evaluation, reference: Evaluation | None, mask: Tensor
    ) -> Tensor:
        """[B, T] rewards less what the steps pay; zero outside the mask."""
        rewards = zero_outside(rewards, mask)
        if self.coef == 0:
            return rewards
        likely = _of(reference, "KLInReward").logprobs
        paid = self.estimator(before.logprobs, likely) - (self.power - 1) * likely
        return rewards - self.coef * zero_outside(paid, mask)

    def terms(
        self, now: Evaluation, experience: Experience, reduction: Reduction = token_mean
    ) -> dict[str, Term]:
        """Nothing: it was paid in the reward."""
        return {}


@dataclass(frozen=True, kw_only=True)
class KLInLoss:
    """``coef`` times the estimate is added to the loss, per step; a step's effect on later KL is not charged.

    k2 has the gradient of the step's KL on samples of the current policy; k1 has none at all on average, and
    k3 that of the opposite KL (Tang and Munos 2025).
    """

    coef: float = 0.05
    """Weight of the KL estimate in the loss, per nat; larger keeps the policy closer to the reference."""
    estimator: Estimator = k2
    """Estimate of a step's KL: k2 has the gradient of KL(policy||reference), k3 of the opposite KL."""

    exact = False

    def __post_init__(self) -> None:
        _check(self.coef, "KLInLoss")

    def charge(
        self, rewards: Tensor, before: Evaluation, reference: Evaluation | None, mask: Tensor
    ) -> Tensor:
        """[B, T] the rewards as they are; zero outside the mask."""
        return zero_outside(rewards, mask)

    def terms(
        self, now: Evaluation, experience: Experience, reduction: Reduction = token_mean
    ) -> dict[str, Term]:
        """One term, [B, T], reduced like the steps' gain, so that its price is in units of reward."""
        if self.coef == 0:
            return {}
        mask = experience.rollouts.action_mask
        reference = zero_outside(_of(experience.reference, "KLInLoss").logprobs, mask)
        values = self.estimator(zero_outside(now.logprobs, mask), reference)
        return {KL_LOSS.name: Term(values, reduction, self.coef)}


@dataclass(frozen=True, kw_only=True)
class KLExact:
    """The KL of each step's whole distribution, in both places its gradient has.

    ``grad E[sum_t KL_t] = E[sum_t grad KL_t + sum_t grad log p(a_t) sum_{u > t} KL_u]``: the first sum is the
    loss. The second is charged to the reward of the step before, the last step that could avoid that state.
    """

    coef: float = 0.05
    """Price of one nat of KL, taken over the whole vocabulary at each step; larger stays closer."""

    exact = True

    def __post_init__(self) -> None:
        _check(self.coef, "KLExact")

    def charge(
        self, rewards: Tensor, before: Evaluation, reference: Evaluation | None, mask: Tensor
    ) -> Tensor:
        """[B, T] rewards less the KL of the row's next chosen step; zero outside the mask."""
        rewards = zero_outside(rewards, mask)
        if self.coef == 0:
            return rewards
        later, out = rewards.new_zeros(rewards.shape[0]), []
        for paid, chosen in zip(reversed(_exact(before).unbind(1)), reversed(mask.unbind(1)), strict=True):
            out.append(later)
            later = torch.where(chosen, paid.to(rewards), later)
        return rewards - self.coef * zero_outside(torch.stack(out[::-1], 1), mask)

    def terms(
        self, now: Evaluation, experience: Experience, reduction: Reduction = token_mean
    ) -> dict[str, Term]:
        """One term, [B, T], reduced like the steps' gain, so that its price is in units of reward."""
        if self.coef == 0:
            return {}
        return {
            KL_LOSS.name: Term(
                zero_outside(_exact(now), experience.rollouts.action_mask), reduction, self.coef
            )
        }


KL = KLInReward | KLInLoss | KLExact

_OF_POLICY = "gradient is that of KL(policy||reference)"
_OF_STEP = "gradient is that of each step's {}, and what a step does to later ones is not charged"
_GRADIENTS: dict[tuple[type, Estimator | None], str] = {
    (KLExact, None): _OF_POLICY,
    (KLInReward, k1): _OF_POLICY,
    (KLInReward, k2): "gradient is that of the mean of k2, less that of each step's KL(policy||reference)",
    (KLInReward, k3): f"{_OF_POLICY}, less that of each step's KL(reference||policy)",
    (KLInLoss, k1): "no gradient on average: nothing keeps the policy near",
    (KLInLoss, k2): _OF_STEP.format("KL(policy||reference)"),
    (KLInLoss, k3): _OF_STEP.format("KL(reference||policy)"),
}


def label(method: Any) -> str:
    """The line that a run prints about its method's KL: where it is charged, and which gradient that has on
    samples of the policy (Tang and Munos 2025). Empty for a method without a ``kl``.
    """
    kl: KL | None = getattr(method, "kl", None)
    if kl is None:
        return ""
    estimator = None if isinstance(kl, KLExact) else kl.estimator
    inside = [getattr(estimator, "__name__", str(estimator))] if estimator is not None else []
    text = f"kl: {type(kl).__name__}({', '.join([*inside, f'coef={kl.coef:g}'])}): "
    if kl.coef == 0:
        return text + "measured, not charged"
    text += _GRADIENTS.get((type(kl), estimator), "an estimator of your own")
    if isinstance(kl, KLInReward) and kl.power != 1:
        text += (
            f"; besides, {kl.power - 1:g} coef log q is paid, as if the reference were raised to {kl.power:g}"
        )
    gamma = getattr(method, "gamma", 1.0)
    if gamma < 1 and not isinstance(kl, KLInLoss):
        text += f"; gamma={gamma:g} discounts that of later steps"
    if (getattr(method, "std", False) or getattr(method, "whiten", False)) and not isinstance(kl, KLInReward):
        text += "; rewards are divided by their standard deviation, the loss's part of KL is not"
    return text
