"""Anchored preference optimization for a model that is worse than the preferred answers."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from posttrain.core.batch import Evaluation, PreferenceBatch, Term
from posttrain.core.implicit_reward import PAIR_LOSS, log_ratio, pair_metrics
from posttrain.core.preferences import on_winner, pair_confidence, pairs
from posttrain.core.ranges import above_zero
from posttrain.core.reduction import pair_mean
from posttrain.direct_alignment.base import PairLossWithReference


@dataclass(frozen=True, kw_only=True)
class APOZero(PairLossWithReference):
    """APO-zero, D'Oosterlinck et al. 2024, eq. 5.

    ``L = E[1 - sigmoid(beta h_w) + sigmoid(beta h_l)]``, ``h(y) = log pi(y|x) - log ref(y|x)``

    Raises what is preferred and lowers what is not, each against the reference, where DPO moves only their
    difference. Converges to no finite policy: linear in the sigmoids, so all or nothing by the majority;
    saturation is what ends it.
    """

    beta: float = 0.1
    """Scale of the log-ratio to the reference; larger saturates sooner, so the policy moves less."""

    def __post_init__(self) -> None:
        above_zero(self, "beta")

    def anchored(self, won: Tensor, lost: Tensor) -> Tensor:
        """[pairs]: the loss of implicit rewards."""
        return torch.sigmoid(-won) + torch.sigmoid(lost)

    def loss(self, now: Evaluation, batch: PreferenceBatch) -> dict[str, Term]:
        """``pair_loss`` [B], each pair booked on its winner; the implicit rewards, as metrics."""
        between, rows, reward = pairs(batch), len(batch.rollouts), self.beta * log_ratio(now, batch)
        won, lost = reward[between.winner], reward[between.loser]
        sure = pair_confidence(batch, between).to(won)
        loss = sure * self.anchored(won, lost) + (1 - sure) * self.anchored(lost, won)
        return {
            PAIR_LOSS.name: Term(on_winner(loss, between, rows), pair_mean),
            **pair_metrics(won, lost, between, rows),
        }
