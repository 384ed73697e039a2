"""Several reward models that learn side by side, and how far they disagree."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from posttrain.core.batch import PreferenceBatch, RewardLoss, Term, Wants
from posttrain.core.masked import masked_sum
from posttrain.core.preferences import on_winner, pairs
from posttrain.core.reduction import pair_mean, row_mean
from posttrain.metrics import declare_metric
from posttrain.reward_losses.bradley_terry import BradleyTerry

DISAGREEMENT = declare_metric(
    "disagreement",
    "Standard deviation over the ensemble's members of a pair's gap, mean over pairs.",
    unit="score",
    better="down",
)
SCORE_SPREAD = declare_metric(
    "score_spread",
    "Standard deviation over the ensemble's members of an answer's score, mean over answers.",
    unit="score",
    better="down",
)


@dataclass(frozen=True, kw_only=True)
class Ensemble:
    """Coste et al. 2023 (and Christiano et al. 2017, section 2.2.3): M heads or models on the same data.

    ``L = (1 / M) sum_m L_m``

    with L_m ``each`` one's loss. Converges as its members do; they differ by where they began.
    ``disagreement`` is the standard deviation over members of a pair's gap (what a constant per prompt cannot
    hide), and ``score_spread`` that of a row's score: high where the data does not decide, which is where a
    policy finds reward that is not there. It measures, and is no part of the loss.
    """

    each: RewardLoss = field(default_factory=BradleyTerry)
    """The loss of each member."""

    @property
    def wants(self) -> Wants:
        """What a member wants, and whole groups: disagreement is of pairs."""
        return replace(self.each.wants, whole_groups=True)

    def loss(self, scores: Tensor, batch: PreferenceBatch) -> dict[str, Term]:
        """``scores``: [B, T, M] rewards per step of each member; [B, T] is an ensemble of one."""
        members = (scores if scores.dim() == 3 else scores[..., None]).unbind(-1)
        each_terms = [self.each.loss(member, batch) for member in members]
        terms = {
            name: replace(term, values=torch.stack([one[name].values for one in each_terms]).mean(0))
            for name, term in each_terms[0].items()
        }
        with torch.no_grad():
            between, mask = pairs(batch), batch.rollouts.action_mask
            total = torch.stack([masked_sum(member, mask) for member in members])
            gap = total[:, between.winner] - total[:, between.loser]
            spread = on_winner(_spread(gap), between, len(batch.rank))
            return terms | {
                DISAGREEMENT.name: Term(spread, pair_mean, 0.0),
                SCORE_SPREAD.name: Term(_spread(total), row_mean, 0.0),
            }


def _spread(values: Tensor) -> Tensor:
    """[M, n] -> [n]: the standard deviation over members; no rows are no trouble."""
    return (values - values.mean(0)).square().mean(0).sqrt()
