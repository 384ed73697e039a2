"""Direct preference optimization."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from posttrain.core.batch import Evaluation, PreferenceBatch, Term
from posttrain.core.implicit_reward import PAIR_LOSS, pair_metrics, step_log_ratio
from posttrain.core.masked import lengths, zero_outside
from posttrain.core.preferences import Pairs, logistic, on_winner, pair_confidence, pairs
from posttrain.core.ranges import above_zero, fraction, not_negative
from posttrain.core.reduction import pair_mean
from posttrain.direct_alignment.base import PairLossWithReference


@dataclass(frozen=True, kw_only=True)
class DPO(PairLossWithReference):
    """Rafailov et al. 2023, eq. 7.

    ``L = -E[log sigmoid(beta (h_w - h_l) + length_penalty (|w| - |l|))]``

    with ``h(y) = log pi(y|x) - log ref(y|x)`` and E the mean over pairs. Converges to ``pi ~ ref exp((r -
    length_penalty |y|) / beta)``, r the Bradley-Terry reward of the labels, where pairs cover the answers;
    where one answer always wins, h_w - h_l has no finite optimum. Length enters through one term each, all
    off by default: ``length_penalty`` is R-DPO (Park et al. 2024); ``ld_alpha`` < 1 weighs the steps beyond
    the shorter answer's length less (LD-DPO, Liu et al. 2024); ``length_normalised`` takes h per step (as in
    Tulu 3, Lambert et al. 2024). The last two do not converge to the optimum above.
    """

    beta: float = 0.1
    """Price of KL from the reference in the optimum; larger keeps the policy closer."""
    length_penalty: float = 0.0
    """Reward that each token of an answer costs (R-DPO, Park et al. 2024); 0 is off."""
    ld_alpha: float = 1.0
    """Weight of the tokens beyond the shorter answer's length (LD-DPO, Liu et al. 2024); 1 is DPO."""
    length_normalised: bool = False
    """Log-ratios are taken per token, not per answer (Tulu 3, Lambert et al. 2024)."""

    def __post_init__(self) -> None:
        above_zero(self, "beta")
        not_negative(self, "length_penalty")
        fraction(self, "ld_alpha")

    def certainty(self, confidence: Tensor) -> Tensor:
        """[pairs]: the weight of the label as given; the rest is the weight of its opposite."""
        return confidence

    def loss(self, now: Evaluation, batch: PreferenceBatch) -> dict[str, Term]:
        """``pair_loss`` [B], each pair booked on its winner; the implicit rewards, as metrics."""
        between, rows = pairs(batch), len(batch.rollouts)
        steps = zero_outside(step_log_ratio(now, batch), batch.rollouts.action_mask)
        won = self.beta * self._answers(steps, batch, between.winner, between)
        lost = self.beta * self._answers(steps, batch, between.loser, between)
        count = lengths(batch.rollouts.action_mask)
        longer = self.length_penalty * (count[between.winner] - count[between.loser]).to(won)
        nll = logistic(won - lost + longer, self.certainty(pair_confidence(batch, between).to(won)))
        return {
            PAIR_LOSS.name: Term(on_winner(nll, between, rows), pair_mean),
            **pair_metrics(won, lost, between, rows),
        }

    def _answers(self, steps: Tensor, batch: PreferenceBatch, rows: Tensor, between: Pairs) -> Tensor:
        """[pairs]: h of one side of each pair."""
        mask = batch.rollouts.action_mask
        count = lengths(mask)
        ratios = steps[rows]
        if self.ld_alpha < 1:
            common = torch.minimum(count[between.winner], count[between.loser])
            ratios = torch.where(mask.cumsum(-1)[rows] <= common[:, None], ratios, self.ld_alpha * ratios)
        total = ratios.sum(-1)
        return total / count[rows].clamp(min=1) if self.length_normalised else total
