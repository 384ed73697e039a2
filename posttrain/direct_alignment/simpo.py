"""Simple preference optimization: no reference, reward per token."""

from __future__ import annotations

from dataclasses import dataclass

import torch.nn.functional as F

from posttrain.core.batch import Evaluation, PreferenceBatch, Term
from posttrain.core.implicit_reward import PAIR_LOSS, either_way, mean_logprob, pair_metrics
from posttrain.core.preferences import on_winner, pair_confidence, pairs
from posttrain.core.ranges import above_zero, not_negative
from posttrain.core.reduction import pair_mean
from posttrain.direct_alignment.base import PairLoss


@dataclass(frozen=True, kw_only=True)
class SimPO(PairLoss):
    """Meng et al. 2024, eq. 6.

    ``L = -E[log sigmoid(beta log pi(w|x) / |w| - beta log pi(l|x) / |l| - gamma)]``

    E is the mean over pairs. Reference-free: its gaps converge to ``log pi(a)/|a| - log pi(b)/|b| = (logit p
    + gamma) / beta`` only as far as a distribution can satisfy them, and nothing ties it to the model it
    began from but a small learning rate and few epochs.
    """

    beta: float = 2.0
    """Scale of the log-probability per token; larger saturates sooner."""
    gamma: float = 1.0
    """Lead that the chosen answer should have, in units of beta times log-probability per token."""

    def __post_init__(self) -> None:
        above_zero(self, "beta")
        not_negative(self, "gamma")

    def loss(self, now: Evaluation, batch: PreferenceBatch) -> dict[str, Term]:
        """``pair_loss`` [B], each pair booked on its winner; the rewards per step, as metrics."""
        between, rows, reward = pairs(batch), len(batch.rollouts), self.beta * mean_logprob(now, batch)
        won, lost = reward[between.winner], reward[between.loser]
        sure = pair_confidence(batch, between).to(won)
        nll = either_way(lambda d: -F.logsigmoid(d - self.gamma), won - lost, sure)
        return {
            PAIR_LOSS.name: Term(on_winner(nll, between, rows), pair_mean),
            **pair_metrics(won, lost, between, rows),
        }
