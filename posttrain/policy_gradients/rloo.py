"""REINFORCE leave-one-out."""

from __future__ import annotations

from dataclasses import dataclass, field

from torch import Tensor

from posttrain.core.advantages import in_company, leave_one_out
from posttrain.core.batch import Evaluation, Experience, Rollouts, Term, Wants
from posttrain.core.importance import Correction, measured, step_weights
from posttrain.core.kl import KL, KLInReward
from posttrain.core.masked import masked_sum, on_steps, zero_outside
from posttrain.core.reduction import row_total


@dataclass(frozen=True, kw_only=True)
class RLOO:
    """Kool et al. 2019, for language Ahmadian et al. 2024.

    ``L = -E[A sum_t log pi(a_t)]``, ``A_i = R_i - mean_{j != i} R_j``

    over the answers j to the same prompt, with R the sum of a row's rewards less its KL charge; E is the mean
    over rows. A whole row is one action. One update a batch: there is no ratio that would correct a second.

    Converges to the KL-regularized optimum ``pi ~ reference * exp(reward / kl.coef)``: the gradient is
    unbiased, since the others know nothing of the row they are compared with.
    """

    kl: KL = field(default_factory=KLInReward)
    correction: Correction | None = None

    epochs = 1
    minibatches = 1

    @property
    def wants(self) -> Wants:
        """Groups and the reference. The trainer's own log-probabilities only for a correction or exact KL."""
        before = self.correction is not None or self.kl.exact
        return Wants(reference=True, before=before, exact_kl=self.kl.exact, group=True)

    def keep(self, rollouts: Rollouts) -> Tensor:
        """[B] bool: rows that have others to be compared with."""
        return in_company(rollouts.group)

    def credit(self, rollouts: Rollouts, before: Evaluation, reference: Evaluation | None) -> Experience:
        """The advantage of each row at each of its steps, [B, T]. Raises ValueError for a row alone."""
        mask = rollouts.action_mask
        total = masked_sum(self.kl.charge(rollouts.rewards, before, reference, mask), mask)
        return Experience(
            rollouts=rollouts,
            before=before,
            reference=reference,
            advantages=on_steps(leave_one_out(total, rollouts.group), mask),
            weights=step_weights(self.correction, before, rollouts),
        )

    def loss(self, now: Evaluation, past: Experience) -> dict[str, Term]:
        """The terms of the formula, then what a run reports of them."""
        logprobs = zero_outside(now.logprobs, past.rollouts.action_mask)
        terms = {"policy_loss": Term(-past.advantages * logprobs * past.weights, row_total)}
        return terms | self.kl.terms(now, past, row_total) | measured(now, past)
