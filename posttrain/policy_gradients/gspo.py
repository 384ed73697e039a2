"""Group sequence policy optimization."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from posttrain.core.advantages import group_centred
from posttrain.core.batch import Evaluation, Experience, Rollouts, Term, Wants
from posttrain.core.importance import CLIP_FRACTION, Correction, clipped_gain, outside, sequence_ratio
from posttrain.core.kl import KL, KLInReward
from posttrain.core.masked import on_steps
from posttrain.core.ranges import above_zero, at_least_one
from posttrain.core.reduction import sequence_mean
from posttrain.policy_gradients.base import POLICY_LOSS, Grouped


@dataclass(frozen=True, kw_only=True)
class GSPO(Grouped):
    """Zheng et al. 2025, eq. 5 and 7.

    ``L = -E[min(s A, clip(s, 1 - clip_range, 1 + clip_range_high) A)]``, ``s = exp(mean_t log r_t)``,
    ``A = (R - mean(R)) / std(R)``

    over the answers to the same prompt, with R the sum of a row's rewards and r the probability ratio of now
    to before; E is the mean over rows. It is computed as GSPO-token (eq. 13): each step has its row's s as
    value and its own share of the gradient, so steps can have advantages and weights of their own; where a
    row's are all equal, as here, the two are the same.

    Converges to something else than the KL-regularized optimum: no KL is charged in the paper
    (``kl.coef=0``), the standard deviation weighs prompts anew, and s counts each row over its length. With
    ``kl=KLInReward()`` the optimum ``pi ~ reference * exp(reward / kl.coef)`` is a fixed point, as for GRPO.
    """

    clip_range: float = 3e-4
    """How far below 1 the ratio of an answer may fall; a mean over its steps, so it moves little."""
    clip_range_high: float = 4e-4
    """How far above 1 the ratio of an answer may rise before its gain is clipped."""
    std: bool = True
    """Advantages are divided by the standard deviation of the group's rewards."""
    kl: KL = field(default_factory=lambda: KLInReward(coef=0.0))
    correction: Correction | None = None
    epochs: int = 1
    minibatches: int = 4

    def __post_init__(self) -> None:
        above_zero(self, "clip_range", "clip_range_high")
        at_least_one(self, "epochs", "minibatches")

    @property
    def wants(self) -> Wants:
        """What grouped methods want, and always the trainer's log-probabilities: a sampler's are further
        away than the clip allows."""
        return replace(super().wants, before=True)

    def credit(self, rollouts: Rollouts, before: Evaluation, reference: Evaluation | None) -> Experience:
        """The advantage of each row at each of its steps, [B, T]. Raises ValueError for a row alone."""
        total = self.row_reward(rollouts, before, reference)
        advantages = on_steps(group_centred(total, rollouts.group, std=self.std), rollouts.action_mask)
        return self.experience(rollouts, before, reference, advantages)

    def loss(self, now: Evaluation, experience: Experience) -> dict[str, Term]:
        """The terms of the formula, then what a run reports of them."""
        s = sequence_ratio(now.logprobs, experience.before.logprobs, experience.rollouts.action_mask)
        gain = clipped_gain(s, experience.advantages, self.clip_range, self.clip_range_high)
        terms = {POLICY_LOSS.name: Term(-gain * experience.weights, sequence_mean)}
        terms |= self.shared_terms(now, experience, sequence_mean, s)
        return terms | {CLIP_FRACTION.name: outside(s, self.clip_range, self.clip_range_high)}
