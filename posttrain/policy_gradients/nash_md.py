"""A policy that is preferred to any other, where preferences need not come from a reward."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import torch
from torch import Tensor

from posttrain.core.advantages import in_company
from posttrain.core.batch import Evaluation, Experience, Rollouts, Term, Wants
from posttrain.core.importance import ENTROPY
from posttrain.core.kl import KL, KLInReward
from posttrain.core.masked import masked_sum, zero_outside
from posttrain.core.ranges import above_zero, at_least_one, fraction
from posttrain.core.reduction import row_total
from posttrain.policy_gradients.base import POLICY_LOSS


@dataclass(frozen=True, kw_only=True)
class NashMD:
    """Nash-MD-PG, Munos et al. 2023, section 7.

    ``L = -E[log pi(y|x) (P(y > y') - 1/2 - tau log(pi(y|x) / ref(y|x)))]``, y' from the mixture
    ``pi^(1 - m) ref^m``

    with m ``mixture``, tau ``kl.coef`` and ``P(y > y') = sigmoid((r(y) - r(y')) / label_temperature)``. The
    prompt's other answers are the opponents, weighed by ``(ref / pi)^m`` among themselves; with two answers
    there is one opponent and the mixture changes nothing.

    Without a mixture converges to the equilibrium ``pi ~ ref exp(P(y > pi) / tau)``, which is not
    ``ref exp(r / tau)``: being preferred to everything earns at most 1. A mixture damps the cycles of
    self-play and moves the fixed point to the best reply to it.
    """

    mixture: float = 0.125
    """Share of the reference in the opponent, which is pi^(1 - m) ref^m; 0 is self-play."""
    label_temperature: float = 1.0
    """Reward gap at which a preference is 73 % certain; larger makes preferences weaker."""
    kl: KL = field(default_factory=KLInReward)
    """How KL from the reference is charged; its ``coef`` is the paper's tau."""
    epochs: int = 1
    """How often each batch of answers is learned from; larger reuses answers further from the policy."""
    minibatches: int = 1
    """Updates that a batch is divided into; larger takes more and noisier steps."""

    def __post_init__(self) -> None:
        above_zero(self, "label_temperature")
        fraction(self, "mixture")
        at_least_one(self, "epochs", "minibatches")

    @property
    def wants(self) -> Wants:
        """The reference, and the log-probabilities the opponents were sampled with."""
        return Wants(reference=True, exact_kl=self.kl.exact, group=True)

    def keep(self, rollouts: Rollouts) -> Tensor:
        """[B] bool: rows that have an opponent; all where none has, so that credit can refuse."""
        return in_company(rollouts.group)

    def credit(self, rollouts: Rollouts, before: Evaluation, reference: Evaluation | None) -> Experience:
        """What each row won against the others of its group, less its KL charge, on all its steps."""
        if reference is None:
            raise ValueError("Nash-MD plays against a mixture with the reference, and there is none")
        mask, group = rollouts.action_mask, rollouts.group
        opponents = (group[:, None] == group[None, :]) & ~torch.eye(
            len(group), dtype=torch.bool, device=group.device
        )
        if not opponents.any():
            raise ValueError("answers play against each other, and no prompt has two: raise group_size to 2")
        paid = masked_sum(rollouts.rewards, mask)
        wins = torch.sigmoid((paid[:, None] - paid[None, :]) / self.label_temperature)
        weight = self.mixture * masked_sum(reference.logprobs - before.logprobs, mask)
        share = weight[None, :].expand_as(opponents).masked_fill(~opponents, -math.inf).softmax(1)
        won = torch.where(opponents, share * (wins - 0.5), 0).sum(1)
        charge = self.kl.charge(torch.zeros_like(before.logprobs), before, reference, mask)
        worth = won + masked_sum(charge, mask)
        return Experience(
            rollouts=rollouts,
            before=before,
            reference=reference,
            advantages=zero_outside(worth[:, None].expand(mask.shape).to(before.logprobs), mask),
            weights=mask.to(before.logprobs),
        )

    def loss(self, now: Evaluation, experience: Experience) -> dict[str, Term]:
        """``policy_loss`` [B, T], summed over a row's steps and averaged over rows; the KL's own terms."""
        mask = experience.rollouts.action_mask
        gain = zero_outside(now.logprobs, mask) * experience.advantages
        terms = {POLICY_LOSS.name: Term(-gain * experience.weights, row_total)} | self.kl.terms(
            now, experience
        )
        if now.entropy is not None:
            terms[ENTROPY.name] = Term(zero_outside(now.entropy, mask), row_total, 0.0)
        return terms
