"""Contrastive preference optimization: DPO against no reference, and likelihood of the preferred answer."""

from __future__ import annotations

from dataclasses import dataclass

from posttrain.core.batch import Evaluation, PreferenceBatch, Term
from posttrain.core.implicit_reward import NLL, PAIR_LOSS, mean_logprob, pair_metrics, sequence_logprob
from posttrain.core.preferences import logistic, on_winner, pair_confidence, pairs
from posttrain.core.ranges import above_zero, not_negative
from posttrain.core.reduction import pair_mean
from posttrain.direct_alignment.base import PairLoss


@dataclass(frozen=True, kw_only=True)
class CPO(PairLoss):
    """Xu et al. 2024, eqs. 4-6.

    ``L = -E[log sigmoid(beta (log pi(w|x) - log pi(l|x)))] + nll_coef E[-log pi(w|x) / |w|]``

    E is the mean over pairs; the likelihood is taken per step, as the authors' code does. Without the second
    term it converges to ``pi ~ exp(r / beta)``, DPO's optimum for a uniform reference; with it, to a
    compromise with the preferred answers' distribution.
    """

    beta: float = 0.1
    """Scale of the log-probability gap; larger saturates sooner, so the policy moves less."""
    nll_coef: float = 1.0
    """Weight of the chosen answers' negative log-likelihood per token; 0 leaves the preference term alone."""

    def __post_init__(self) -> None:
        above_zero(self, "beta")
        not_negative(self, "nll_coef")

    def loss(self, now: Evaluation, batch: PreferenceBatch) -> dict[str, Term]:
        """``pair_loss`` and ``nll`` [B], each pair booked on its winner; beta log pi, as metrics."""
        between, rows = pairs(batch), len(batch.rollouts)
        reward, mean = self.beta * sequence_logprob(now, batch), mean_logprob(now, batch)
        won, lost = reward[between.winner], reward[between.loser]
        nll = logistic(won - lost, pair_confidence(batch, between).to(won))
        return {
            PAIR_LOSS.name: Term(on_winner(nll, between, rows), pair_mean),
            NLL.name: Term(on_winner(-mean[between.winner], between, rows), pair_mean, self.nll_coef),
            **pair_metrics(won, lost, between, rows),
        }
