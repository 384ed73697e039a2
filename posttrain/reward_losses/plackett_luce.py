"""Rankings of K answers at once."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from posttrain.core.batch import PreferenceBatch, Term, Wants
from posttrain.core.implicit_reward import ACCURACY, GAP, PAIRS, pair_metrics
from posttrain.core.masked import masked_sum
from posttrain.core.preferences import pairs
from posttrain.core.ranges import not_negative
from posttrain.core.reduction import group_mean, row_mean
from posttrain.metrics import declare_metric
from posttrain.reward_losses.bradley_terry import CENTER_LOSS, SCORE

RANKING_LOSS = declare_metric(
    "ranking_loss",
    "Negative log-likelihood of a group's ranking, mean over groups.",
    unit="nats per group",
    better="down",
    title="Loss of a ranking",
    order=2,
)


@dataclass(frozen=True, kw_only=True)
class PlackettLuce:
    """Plackett 1975 and Luce 1959; for language models Rafailov et al. 2023, appendix A.3.

    ``L = -E[sum_k log(exp r_k / sum_{j below k, and k} exp r_j)] + center_coef E[(2 mean r)^2]``

    with r the sum of a row's rewards and E the mean over groups in which a row beat another: from the best
    down, each row is chosen among itself and those ranked below it. Rows of equal rank are not compared.
    With two rows it is Bradley-Terry. Converges to the log of the strengths with which a ranking is drawn one
    place after another, up to a constant per prompt. A row that is sure only with probability c counts
    1 - c in the same likelihood read from the bottom up.
    """

    center_coef: float = 0.01
    """Weight of the squared mean score of a group, which keeps scores near 0."""

    def __post_init__(self) -> None:
        not_negative(self, "center_coef")

    @property
    def wants(self) -> Wants:
        """All rows of a group in one micro-batch."""
        return PAIRS

    def loss(self, scores: Tensor, batch: PreferenceBatch) -> dict[str, Term]:
        """``scores``: [B, T] rewards per step; terms are [B], each choice booked on the row chosen."""
        total, between = masked_sum(scores, batch.rollouts.action_mask), pairs(batch)
        ranked = batch.rank >= 0
        together = (batch.rollouts.group[:, None] == batch.rollouts.group[None, :]) & ranked[None, :]
        itself = torch.eye(len(total), dtype=torch.bool, device=total.device)
        rank = batch.rank
        down = _chosen(total, itself | (together & (rank[None, :] > rank[:, None]) & ranked[:, None]))
        up = _chosen(total, itself | (together & (rank[None, :] < rank[:, None]) & ranked[:, None]))
        confidence = batch.confidence.to(total)
        compared = together & ranked[:, None]
        count = compared.sum(1).clamp(min=1)
        mean = torch.where(compared, total[None, :], 0).sum(1) / count
        decides = torch.isin(batch.rollouts.group, batch.rollouts.group[between.winner]) & ranked
        centre = torch.where(decides, (2 * mean).square() / count, 0)
        metrics = pair_metrics(total[between.winner], total[between.loser], between, len(total))
        return {
            RANKING_LOSS.name: Term(confidence * down + (1 - confidence) * up, group_mean),
            CENTER_LOSS.name: Term(centre, group_mean, self.center_coef),
            ACCURACY.name: metrics[ACCURACY.name],
            GAP.name: metrics[GAP.name],
            SCORE.name: Term(total.detach(), row_mean, 0.0),
        }


def _chosen(total: Tensor, among: Tensor) -> Tensor:
    """[B]: ``-log`` of the probability that each row is the one chosen among those of its row of
    ``among`` [B, B]."""
    rest = total[None, :].expand_as(among).masked_fill(~among, float("-inf"))
    return rest.logsumexp(1) - total
