"""Sequence likelihood calibration, the hinge."""

from __future__ import annotations

from dataclasses import dataclass

from posttrain.core.batch import Evaluation, PreferenceBatch, Term
from posttrain.core.implicit_reward import NLL, PAIR_LOSS, either_way, pair_metrics, sequence_logprob
from posttrain.core.preferences import on_winner, pair_confidence, pairs
from posttrain.core.ranges import above_zero, not_negative
from posttrain.core.reduction import pair_mean
from posttrain.direct_alignment.base import PairLoss


@dataclass(frozen=True, kw_only=True)
class SLiC(PairLoss):
    """SLiC-HF, Zhao et al. 2023, eq. 1.

    ``L = E[max(0, margin - log pi(w|x) + log pi(l|x))] + nll_coef E[-log pi(w|x)]``

    E is the mean over pairs, log pi the sum over an answer; the second term, on the preferred answer, stands
    for the paper's regularisation towards the SFT targets. It needs no reference and converges to nothing of
    one: a hinge follows the majority (``log pi(a) - log pi(b) = margin`` as soon as more than half prefer
    a), however large it is, and the second term pulls towards the preferred answers' distribution.
    """

    margin: float = 1.0
    """Lead of the chosen answer's log-probability below which a pair has a loss, in nats."""
    nll_coef: float = 0.1
    """Weight of the chosen answers' negative log-likelihood; it stands for the reference."""

    def __post_init__(self) -> None:
        above_zero(self, "margin")
        not_negative(self, "nll_coef")

    def loss(self, now: Evaluation, batch: PreferenceBatch) -> dict[str, Term]:
        """``pair_loss`` and ``nll`` [B], each pair booked on its winner; log-probabilities, as metrics."""
        between, rows, total = pairs(batch), len(batch.rollouts), sequence_logprob(now, batch)
        won, lost = total[between.winner], total[between.loser]
        sure = pair_confidence(batch, between).to(won)
        hinge = either_way(lambda d: (self.margin - d).relu(), won - lost, sure)
        return {
            PAIR_LOSS.name: Term(on_winner(hinge, between, rows), pair_mean),
            NLL.name: Term(on_winner(-won, between, rows), pair_mean, self.nll_coef),
            **pair_metrics(won, lost, between, rows),
        }
