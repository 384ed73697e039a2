"""REINFORCE++ with the mean of the prompt's answers as a baseline."""

from __future__ import annotations

from dataclasses import dataclass, field

from posttrain.core.advantages import group_centred, whiten
from posttrain.core.batch import Evaluation, Experience, Rollouts
from posttrain.core.kl import KL, KLInLoss
from posttrain.core.masked import on_steps
from posttrain.policy_gradients.base import Grouped
from posttrain.policy_gradients.reinforce_plus_plus import ReinforcePlusPlus


@dataclass(frozen=True, kw_only=True)
class ReinforcePlusPlusBaseline(Grouped, ReinforcePlusPlus):
    """Hu et al. 2025, the variant for several answers a prompt.

    ``L = -E[min(r_t A, clip(r_t, 1 - c, 1 + c) A)] + kl.coef E[k2_t]``, ``A = whiten(R - mean(R))``

    with mean over the answers to the same prompt, whiten over all steps of the batch of rollouts, R the sum
    of a row's rewards and r the probability ratio of now to before; E is the mean over steps.

    Converges to the answers with the highest reward where nothing stops it: the reward is divided by the
    batch's deviation and the KL in the loss is not, so the price of KL is ``kl.coef * std`` in units of
    reward, the same for all prompts; and the surer the policy, the smaller the deviation. With
    ``kl=KLInReward()`` both are divided and the optimum is ``pi ~ reference * exp(reward / kl.coef)``.
    """

    kl: KL = field(default_factory=KLInLoss)

    def credit(self, rollouts: Rollouts, before: Evaluation, reference: Evaluation | None) -> Experience:
        """The whitened advantage of each row at each of its steps, [B, T].

        Raises ValueError for a row alone in its group.
        """
        total = self.row_reward(rollouts, before, reference)
        mask = rollouts.action_mask
        advantages = whiten(on_steps(group_centred(total, rollouts.group), mask), mask)
        return self.experience(rollouts, before, reference, advantages)
