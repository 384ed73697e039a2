"""Proximal policy optimization."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch

from posttrain.core.advantages import whiten
from posttrain.core.batch import Evaluation, Experience, Rollouts, Term
from posttrain.core.importance import CLIP_FRACTION, Correction, clipped_gain, outside, ratio
from posttrain.core.kl import KL, KLInReward
from posttrain.core.ranges import above_zero, at_least_one, fraction, not_negative
from posttrain.core.reduction import token_mean
from posttrain.policy_gradients.base import POLICY_LOSS, VALUE_LOSS, WithCritic


@dataclass(frozen=True, kw_only=True)
class PPO(WithCritic):
    """Schulman et al. 2017, as used for language by Ziegler et al. 2019 and InstructGPT (Ouyang et al. 2022).

    ``L = -E[min(r A, clip(r, 1 - c, 1 + c) A)] + vf_coef E[(V - R)^2] / 2 - entropy_coef E[H]``

    with r the probability ratio of now to before, A from generalized advantage estimation on rewards less the
    KL charge, whitened over the rollouts, and R = A + V before whitening; E is the mean over chosen steps of
    the optimizer batch.

    Converges to the KL-regularized optimum ``pi ~ reference * exp(reward / kl.coef)`` where clipping,
    whitening and the critic's error vanish. It is not trust-region optimization: the clip bounds no KL.
    """

    clip_range: float = 0.2
    """How far from 1 the probability ratio of a step may go before its gain is clipped."""
    # A completion is one decision in T pieces; nothing in it is worth less for coming later.
    gamma: float = 1.0
    gae_lambda: float = 0.95
    vf_coef: float = 0.5
    """Weight of the critic's squared error in the loss."""
    value_clip_range: float | None = None
    """How far a value may move from the one before the update; none does not clip values."""
    whiten: bool = True
    """Advantages have mean 0 and deviation 1 over the batch, so the reward's scale does not matter."""
    kl: KL = field(default_factory=KLInReward)
    entropy_coef: float = 0.0
    bootstrap_truncated: bool = False  # a cut completion is scored as it stands; CartPole would have gone on
    correction: Correction | None = None  # where the sampler's numerics differ from the trainer's
    epochs: int = 2
    minibatches: int = 2

    def __post_init__(self) -> None:
        fraction(self, "gamma", "gae_lambda")
        not_negative(self, "vf_coef", "entropy_coef")
        above_zero(self, "clip_range", "value_clip_range")
        at_least_one(self, "epochs", "minibatches")

    def credit(self, rollouts: Rollouts, before: Evaluation, reference: Evaluation | None) -> Experience:
        """Advantages and returns of a whole batch of rollouts, [B, T] each."""
        advantages, returns = self.advantages_and_returns(rollouts, before, reference)
        if self.whiten:
            advantages = whiten(advantages, rollouts.action_mask)
        return self.experience(rollouts, before, reference, advantages, returns)

    def loss(self, now: Evaluation, experience: Experience) -> dict[str, Term]:
        """The terms of the formula, then what a run reports of them."""
        mask = experience.rollouts.action_mask
        r = ratio(now.logprobs, experience.before.logprobs, mask)
        gain = clipped_gain(r, experience.advantages, self.clip_range, self.clip_range)
        values = self.values_of(now, mask)
        error = self.squared_value_error(values, experience)
        if self.value_clip_range is not None:
            old = self.values_of(experience.before, mask)
            near = old + (values - old).clamp(-self.value_clip_range, self.value_clip_range)
            error = torch.maximum(error, self.squared_value_error(near, experience))
        terms = {
            POLICY_LOSS.name: Term(-gain * experience.weights, token_mean),
            VALUE_LOSS.name: Term(error / 2 * experience.weights, token_mean, self.vf_coef),
        }
        terms |= self.shared_terms(now, experience, token_mean, r)
        return terms | {CLIP_FRACTION.name: outside(r, self.clip_range, self.clip_range)}
