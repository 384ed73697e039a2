"""Decoupled clip and dynamic sampling policy optimization."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from posttrain.core.advantages import differing, group_centred, in_company
from posttrain.core.batch import Evaluation, Experience, Rollouts, Term, Wants
from posttrain.core.importance import CLIP_FRACTION, Correction, clipped_gain, outside, ratio
from posttrain.core.kl import KL, KLInReward
from posttrain.core.masked import lengths, masked_sum, on_steps
from posttrain.core.ranges import above_zero, at_least_one, counted, fraction, not_negative
from posttrain.core.reduction import token_mean
from posttrain.policy_gradients.base import POLICY_LOSS, Grouped


@dataclass(frozen=True, kw_only=True)
class DAPO(Grouped):
    """Yu et al. 2025, eq. 8, 12 and 13.

    ``L = -E[min(r_t A, clip(r_t, 1 - clip_range, 1 + clip_range_high) A)]``, ``A = (R - mean(R)) / std(R)``

    over the answers to the same prompt, with r the probability ratio of now to before; E is the mean over all
    steps (token mean). R is the sum of a row's rewards, less ``overlong_penalty * min((n - s) / (m - s), 1)``
    for a row of more than ``s = (1 - overlong_buffer) m`` steps, ``m = max_length`` (overlong shaping).
    Prompts whose answers all have the same reward are left out (``dynamic_sampling``) and others asked in
    their place, at most ``refills`` times a batch; where nothing would be left the batch is kept.

    Converges to something else than the KL-regularized optimum: the paper charges no KL (``kl.coef=0``), so
    it goes on to the answers with the highest reward, and its standard deviation weighs prompts anew. With
    ``kl=KLInReward()`` the optimum ``pi ~ reference * exp(reward / kl.coef)`` is a fixed point, as for GRPO.
    """

    clip_range: float = 0.2
    """How far below 1 the probability ratio of a step may fall before its gain is clipped."""
    clip_range_high: float = 0.28
    """How far above 1 it may rise; larger than ``clip_range`` lets unlikely tokens grow."""
    std: bool = True
    """Advantages are divided by the standard deviation of the group's rewards."""
    dynamic_sampling: bool = True
    """Prompts whose answers all earn the same are left out, and others asked in their place."""
    refills: int = 3
    """Times that other prompts are asked for one batch; 0 lets the batch become smaller instead."""
    max_length: int | None = None
    """Tokens of an answer at which the length penalty is full; none has no penalty."""
    overlong_buffer: float = 0.2
    """Share of ``max_length`` over which the length penalty grows from 0."""
    overlong_penalty: float = 1.0
    """Reward that an answer of ``max_length`` tokens loses."""
    drop_truncated: bool = False
    """An answer that the limit cut is compared with, but not learned from."""
    kl: KL = field(default_factory=lambda: KLInReward(coef=0.0))
    correction: Correction | None = None
    epochs: int = 1
    minibatches: int = 4

    def __post_init__(self) -> None:
        above_zero(self, "clip_range", "clip_range_high", "overlong_buffer")
        fraction(self, "overlong_buffer")
        not_negative(self, "overlong_penalty")
        counted(self, "refills")
        at_least_one(self, "max_length", "epochs", "minibatches")

    @property
    def wants(self) -> Wants:
        """What grouped methods want, and other prompts in place of those that teach nothing."""
        return replace(super().wants, refills=self.refills if self.dynamic_sampling else 0)

    def keep(self, rollouts: Rollouts) -> Tensor:
        """[B] bool: rows of prompts whose answers differ in reward, and that are not alone."""
        default = super().keep(rollouts)
        if not self.dynamic_sampling:
            return default
        informative = self.informative(rollouts)
        return informative if bool(informative.any()) else default

    def informative(self, rollouts: Rollouts) -> Tensor:
        """[B] bool: rows of prompts whose answers differ in reward."""
        return in_company(rollouts.group) & differing(self._rewards(rollouts), rollouts.group)

    def _rewards(self, rollouts: Rollouts) -> Tensor:
        """[B]: the sum of each row's rewards, less what it pays for its length."""
        reward = masked_sum(rollouts.rewards, rollouts.action_mask)
        if self.max_length is None:
            return reward
        buffer = self.overlong_buffer * self.max_length
        over = (lengths(rollouts.action_mask).to(reward.dtype) - (self.max_length - buffer)) / buffer
        return reward - self.overlong_penalty * over.clamp(0, 1)

    def credit(self, rollouts: Rollouts, before: Evaluation, reference: Evaluation | None) -> Experience:
        """The advantage of each row at each of its steps, [B, T]. Raises ValueError for a row alone."""
        mask = rollouts.action_mask
        paid = self.kl.charge(torch.zeros_like(rollouts.rewards), before, reference, mask)
        total = self._rewards(rollouts) + masked_sum(paid, mask)
        advantages = on_steps(group_centred(total, rollouts.group, std=self.std), mask)
        experience = self.experience(rollouts, before, reference, advantages)
        if self.drop_truncated:
            return replace(experience, weights=experience.weights * ~rollouts.truncated[:, None])
        return experience

    def loss(self, now: Evaluation, experience: Experience) -> dict[str, Term]:
        """The terms of the formula, then what a run reports of them."""
        r = ratio(now.logprobs, experience.before.logprobs, experience.rollouts.action_mask)
        gain = clipped_gain(r, experience.advantages, self.clip_range, self.clip_range_high)
        terms = {POLICY_LOSS.name: Term(-gain * experience.weights, token_mean)}
        terms |= self.shared_terms(now, experience, token_mean, r)
        return terms | {CLIP_FRACTION.name: outside(r, self.clip_range, self.clip_range_high)}
