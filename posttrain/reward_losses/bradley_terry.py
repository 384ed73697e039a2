"""The pairwise reward-model loss."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from posttrain.core.batch import PreferenceBatch, Term, Wants
from posttrain.core.implicit_reward import ACCURACY, GAP, PAIR_LOSS
from posttrain.core.masked import masked_sum
from posttrain.core.preferences import floor, logistic, on_winner, pair_confidence, pair_margin, pairs
from posttrain.core.reduction import pair_mean, row_mean
from posttrain.metrics import declare_metric

PAIR_LOSS_FLOOR = declare_metric(
    "pair_loss_floor",
    "The least mean loss that labels as sure as these allow: the entropy of the annotators' votes.",
    unit="nats per pair",
    better="none",
    floor_of="pair_loss",
)
CENTER_LOSS = declare_metric(
    "center_loss",
    "Squared sum of a pair's scores, or of a group's mean, before its coefficient: how far scores are from "
    "0.",
    unit="squared score",
    better="down",
)
SCORE = declare_metric(
    "score",
    "The reward model's score, mean over the batch's answers.",
    unit="score",
    better="none",
)


@dataclass(frozen=True, kw_only=True)
class BradleyTerry:
    """Bradley and Terry 1952; for reward models Christiano et al. 2017 and InstructGPT (2022, eq. 1).

    ``L = -E[log sigmoid(r_w - r_l - m)] + center_coef E[(r_w + r_l)^2]``

    with r the sum of a row's rewards, m the margin the annotators gave (Llama 2, 2023, eq. 2) and E the
    mean over pairs. Converges to the log-odds of being preferred, up to a constant per prompt; the second
    term (Eisenstein et al. 2023) fixes that constant near 0 and does not move the differences much while it
    is small. Where annotators disagree the loss cannot reach 0: ``pair_loss_floor`` is the entropy of their
    votes, the loss of a model that is as sure as they are. It is not calibrated where annotators disagree
    with themselves more than the scale of r says.
    """

    center_coef: float = 0.01
    """Weight of the squared sum of a pair's scores, which keeps scores near 0 (Eisenstein et al. 2023)."""
    margin: bool = False
    """The gap must exceed the margin that annotators gave (Llama 2, 2023, eq. 2)."""

    def __post_init__(self) -> None:
        if not 0 <= self.center_coef < float("inf"):
            raise ValueError(f"center_coef is {self.center_coef}, expected 0 or more")

    @property
    def wants(self) -> Wants:
        """Both rows of a pair in one micro-batch."""
        return Wants(before=False, entropy=False, whole_groups=True)

    def loss(self, scores: Tensor, batch: PreferenceBatch) -> dict[str, Term]:
        """``scores``: [B, T] rewards per step; terms are [B], a pair booked on its winner."""
        rows = len(batch.rollouts)
        total, between = masked_sum(scores, batch.rollouts.action_mask), pairs(batch)
        won, lost = total[between.winner], total[between.loser]
        wanted_gap = pair_margin(batch, between) if self.margin else torch.zeros_like(won)
        confidence = pair_confidence(batch, between).to(won)
        nll = logistic(won - lost - wanted_gap, confidence)
        gap = (won - lost).detach()
        correct = (gap > 0).to(gap) + (gap == 0).to(gap) / 2
        return {
            PAIR_LOSS.name: Term(on_winner(nll, between, rows), pair_mean),
            PAIR_LOSS_FLOOR.name: Term(on_winner(floor(confidence), between, rows), pair_mean, 0.0),
            CENTER_LOSS.name: Term(
                on_winner((won + lost).square(), between, rows), pair_mean, self.center_coef
            ),
            ACCURACY.name: Term(on_winner(correct, between, rows), pair_mean, 0.0),
            GAP.name: Term(on_winner(gap, between, rows), pair_mean, 0.0),
            SCORE.name: Term(total.detach(), row_mean, 0.0),
        }
