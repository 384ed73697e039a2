"""Group relative policy optimization."""

from __future__ import annotations

from dataclasses import dataclass, field

from posttrain.core.advantages import group_centred
from posttrain.core.batch import Evaluation, Experience, Rollouts, Term
from posttrain.core.importance import CLIP_FRACTION, Correction, clipped_gain, outside, ratio
from posttrain.core.kl import KL, KLInLoss, k3
from posttrain.core.masked import on_steps
from posttrain.core.ranges import above_zero, at_least_one
from posttrain.core.reduction import sequence_mean
from posttrain.policy_gradients.base import POLICY_LOSS, Grouped


@dataclass(frozen=True, kw_only=True)
class GRPO(Grouped):
    """Shao et al. 2024, eq. 3.

    ``L = -E[mean_t (min(r_t A, clip(r_t, 1 - c, 1 + c) A) - kl.coef k3_t)]``, ``A = (R - mean(R)) / std(R)``

    over the answers to the same prompt, with R the sum of a row's rewards and r the probability ratio of now
    to before; E is the mean over rows, each divided by its own length.

    Converges to something else than the KL-regularized optimum, for three reasons. Dividing by the standard
    deviation prices KL per prompt: a prompt whose answers hardly differ counts as much as one where
    everything is at stake. k3 in the loss has the gradient of KL(reference||policy). Dividing a row by its
    length makes good short answers and bad long ones cheap. With ``kl=KLInReward()`` the optimum
    ``pi ~ reference * exp(reward / kl.coef)`` is a fixed point, since there all answers to a prompt are worth
    the same after the charge; ``std=False`` as well lets steps become small near it.
    """

    clip_range: float = 0.2
    """How far from 1 the probability ratio of a step may go before its gain is clipped."""
    std: bool = True
    """Advantages are divided by the standard deviation of the group's rewards; false prices KL alike."""
    std_eps: float = 1e-4
    """Added to that standard deviation, so that a group of equal rewards divides by more than 0."""
    kl: KL = field(default_factory=lambda: KLInLoss(coef=0.04, estimator=k3))
    correction: Correction | None = None
    epochs: int = 1
    minibatches: int = 1

    def __post_init__(self) -> None:
        above_zero(self, "clip_range", "std_eps")
        at_least_one(self, "epochs", "minibatches")

    def credit(self, rollouts: Rollouts, before: Evaluation, reference: Evaluation | None) -> Experience:
        """The advantage of each row at each of its steps, [B, T]. Raises ValueError for a row alone."""
        total = self.row_reward(rollouts, before, reference)
        advantage = group_centred(total, rollouts.group, std=self.std, eps=self.std_eps)
        return self.experience(rollouts, before, reference, on_steps(advantage, rollouts.action_mask))

    def loss(self, now: Evaluation, experience: Experience) -> dict[str, Term]:
        """The terms of the formula, then what a run reports of them."""
        r = ratio(now.logprobs, experience.before.logprobs, experience.rollouts.action_mask)
        gain = clipped_gain(r, experience.advantages, self.clip_range, self.clip_range)
        terms = {POLICY_LOSS.name: Term(-gain * experience.weights, sequence_mean)}
        terms |= self.shared_terms(now, experience, sequence_mean, r)
        return terms | {CLIP_FRACTION.name: outside(r, self.clip_range, self.clip_range)}
