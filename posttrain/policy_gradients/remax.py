"""REINFORCE with the greedy answer as its baseline."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor

from posttrain.core.batch import Evaluation, Experience, Rollouts, Term, Wants
from posttrain.core.importance import Correction, measured, step_weights
from posttrain.core.kl import KL, KLInReward
from posttrain.core.masked import masked_sum, on_steps, zero_outside
from posttrain.core.reduction import row_total


@dataclass(frozen=True, kw_only=True)
class ReMax:
    """Li et al. 2024.

    ``L = -E[A sum_t log pi(a_t)]``, ``A = R - R_greedy``

    with R the sum of a row's rewards less its KL charge, and R_greedy the reward of the answer that takes the
    likeliest token at each step, to the same prompt; E is the mean over rows. The greedy answer is only
    scored: it is no sample of the policy, so it is neither learned from nor charged KL. One update a batch.

    Converges to the KL-regularized optimum ``pi ~ reference * exp(reward / kl.coef)``: the gradient is
    unbiased, since the greedy answer does not depend on the one that was sampled.
    """

    kl: KL = field(default_factory=KLInReward)
    correction: Correction | None = None

    epochs = 1
    minibatches = 1

    @property
    def wants(self) -> Wants:
        """The greedy answer's reward and the reference."""
        before = self.correction is not None or self.kl.exact
        return Wants(reference=True, before=before, exact_kl=self.kl.exact, greedy=True)

    def keep(self, rollouts: Rollouts) -> Tensor:
        """[B] bool: rows to whose prompt the greedy answer could be scored."""
        return _greedy(rollouts).isfinite()

    def credit(self, rollouts: Rollouts, before: Evaluation, reference: Evaluation | None) -> Experience:
        """The advantage of each row at each of its steps, [B, T]. Raises ValueError without greedy
        rewards."""
        mask = rollouts.action_mask
        total = masked_sum(self.kl.charge(rollouts.rewards, before, reference, mask), mask)
        greedy = _greedy(rollouts)
        if not bool(greedy.isfinite().all()):
            raise ValueError(
                "ReMax has rows whose greedy answer has no reward: drop those that keep() refuses"
            )
        return Experience(
            rollouts=rollouts,
            before=before,
            reference=reference,
            advantages=on_steps(total - greedy.to(total.dtype), mask),
            weights=step_weights(self.correction, before, rollouts),
        )

    def loss(self, now: Evaluation, past: Experience) -> dict[str, Term]:
        """The terms of the formula, then what a run reports of them."""
        logprobs = zero_outside(now.logprobs, past.rollouts.action_mask)
        terms = {"policy_loss": Term(-past.advantages * logprobs * past.weights, row_total)}
        return terms | self.kl.terms(now, past, row_total) | measured(now, past)


def _greedy(rollouts: Rollouts) -> Tensor:
    """[B]: the baseline of each row."""
    greedy: torch.Tensor | None = rollouts.greedy
    if greedy is None:
        raise ValueError(
            "ReMax needs the reward of a greedy answer to each prompt in Rollouts.greedy: collect with "
            "greedy=True"
        )
    return greedy
