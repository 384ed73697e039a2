"""REINFORCE with PPO's clip and charge, and the batch for a critic."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor

from posttrain.core.advantages import returns_to_go, whiten
from posttrain.core.batch import Evaluation, Experience, Rollouts, Term, Wants
from posttrain.core.importance import Correction, clipped_gain, measured, outside, ratio, step_weights
from posttrain.core.kl import KL, KLInReward
from posttrain.core.ranges import above_zero, at_least_one
from posttrain.core.reduction import token_mean


@dataclass(frozen=True, kw_only=True)
class ReinforcePlusPlus:
    """Hu et al. 2025.

    ``L = -E[min(r_t A_t, clip(r_t, 1 - c, 1 + c) A_t)]``,
    ``A_t = whiten(R - kl.coef sum_{u >= t} (log pi(a_u) - log reference(a_u)))``

    with R the reward of the row, r the probability ratio of now to before, and whiten to mean 0 and standard
    deviation 1 over all steps of the batch of rollouts; E is the mean over steps. One answer a prompt is
    enough: what an answer is compared with is the whole batch.

    Converges to the KL-regularized optimum ``pi ~ reference * exp(reward / kl.coef)`` where clipping
    vanishes: the deviation scales reward and charge alike, and the mean knows a row itself only as one of
    many, so the bias goes with the size of the batch.
    """

    clip_range: float = 0.2
    kl: KL = field(default_factory=KLInReward)
    correction: Correction | None = None
    epochs: int = 1
    minibatches: int = 4

    whiten = True

    def __post_init__(self) -> None:
        above_zero(self, "clip_range")
        at_least_one(self, "epochs", "minibatches")

    @property
    def wants(self) -> Wants:
        """The reference; the trainer's own log-probabilities where the sampler's will not do."""
        reused = self.epochs * self.minibatches > 1
        before = reused or self.correction is not None or self.kl.exact
        return Wants(reference=True, before=before, exact_kl=self.kl.exact)

    def keep(self, rollouts: Rollouts) -> Tensor:
        """[B] bool: all rows."""
        return torch.ones_like(rollouts.truncated)

    def credit(self, rollouts: Rollouts, before: Evaluation, reference: Evaluation | None) -> Experience:
        """Whitened returns to go, [B, T]."""
        mask = rollouts.action_mask
        returns = returns_to_go(self.kl.charge(rollouts.rewards, before, reference, mask), mask)
        return Experience(
            rollouts=rollouts,
            before=before,
            reference=reference,
            advantages=whiten(returns, mask),
            returns=returns,
            weights=step_weights(self.correction, before, rollouts),
        )

    def loss(self, now: Evaluation, past: Experience) -> dict[str, Term]:
        """The terms of the formula, then what a run reports of them."""
        r = ratio(now.logprobs, past.before.logprobs, past.rollouts.action_mask)
        gain = clipped_gain(r, past.advantages, self.clip_range, self.clip_range)
        terms = {"policy_loss": Term(-gain * past.weights, token_mean)}
        terms |= self.kl.terms(now, past) | measured(now, past, r)
        return terms | {"clip_fraction": outside(r, self.clip_range, self.clip_range)}
