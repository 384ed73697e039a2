"""Odds ratio preference optimization: instruction tuning and preference in one loss, no reference."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from posttrain.core.batch import Evaluation, PreferenceBatch, Term
from posttrain.core.implicit_reward import NLL, PAIR_LOSS, mean_logprob, pair_metrics
from posttrain.core.preferences import logistic, on_winner, pair_confidence, pairs
from posttrain.core.ranges import above_zero
from posttrain.core.reduction import pair_mean
from posttrain.direct_alignment.base import PairLoss

CERTAIN = 1e-6  # nats per step: an answer as likely as this has odds that no longer mean anything


@dataclass(frozen=True, kw_only=True)
class ORPO(PairLoss):
    """Hong et al. 2024, eqs. 6-7.

    ``L = E[-log p(w)] - beta E[log sigmoid(log odds(w) - log odds(l))]``, ``odds = p / (1 - p)``,
    ``log p(y) = log pi(y|x) / |y|`` (beta is the paper's lambda)

    E is the mean over pairs. Converges to the preferred answers' distribution, tilted away from the others';
    no reference holds it and it is no optimum of a reward. The weight of a label's opposite
    (confidence below 1) counts in the second term only.
    """

    beta: float = 0.1
    """Weight of the log-odds term beside the likelihood (the paper's lambda); larger separates more."""

    def __post_init__(self) -> None:
        above_zero(self, "beta")

    def loss(self, now: Evaluation, batch: PreferenceBatch) -> dict[str, Term]:
        """``nll`` and ``pair_loss`` [B], each pair booked on its winner; log-odds, as metrics."""
        between, rows, mean = pairs(batch), len(batch.rollouts), mean_logprob(now, batch)
        odds = log_odds(mean)
        won, lost = odds[between.winner], odds[between.loser]
        nll = logistic(won - lost, pair_confidence(batch, between).to(won))
        return {
            NLL.name: Term(on_winner(-mean[between.winner], between, rows), pair_mean),
            PAIR_LOSS.name: Term(on_winner(nll, between, rows), pair_mean, self.beta),
            **pair_metrics(won, lost, between, rows),
        }


def log_odds(logprob: Tensor) -> Tensor:
    """``log p - log(1 - p)`` of log p, exact for small p; p is kept below ``exp(-CERTAIN)``."""
    below = logprob.clamp(max=-CERTAIN)
    return below - torch.log(-torch.expm1(below))
