"""Was the whole answer right?"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from posttrain.core.batch import PreferenceBatch, Term, Wants
from posttrain.core.implicit_reward import ACCURACY
from posttrain.core.masked import masked_sum
from posttrain.core.preferences import outcomes
from posttrain.core.reduction import outcome_mean
from posttrain.metrics import declare_metric
from posttrain.reward_losses.bradley_terry import SCORE

OUTCOME_LOSS = declare_metric(
    "outcome_loss",
    "Binary cross-entropy of labelled answers, mean over them; ln 2 is a guess.",
    unit="nats per answer",
    better="down",
    title="Loss of an answer",
    order=2,
)


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """Verifiers, Cobbe et al. 2021; the outcome reward model of Uesato et al. 2022.

    ``L = -E[y log sigmoid(r) + (1 - y) log sigmoid(-r)]``

    with r the sum of a row's rewards, y the label at its last chosen step and E the mean over labelled rows;
    without labels y is 1 for rank 0 and 0 below. Rows of rank -1 teach nothing. Converges to the log-odds
    that the answer is right, calibrated in the mean over the data it saw.
    """

    @property
    def wants(self) -> Wants:
        """Rows stand alone."""
        return Wants(before=False, entropy=False)

    def loss(self, scores: Tensor, batch: PreferenceBatch) -> dict[str, Term]:
        """``scores``: [B, T] rewards per step; terms are [B]."""
        total, outcome = masked_sum(scores, batch.rollouts.action_mask), outcomes(batch).to(scores)
        labelled = ~outcome.isnan()
        label = torch.where(labelled, outcome, 0)
        nll = F.binary_cross_entropy_with_logits(total, label, reduction="none")
        correct = ((total > 0) == (label > 0.5)).to(total)
        return {
            OUTCOME_LOSS.name: Term(torch.where(labelled, nll, 0), outcome_mean),
            ACCURACY.name: Term(torch.where(labelled, correct, 0), outcome_mean, 0.0),
            SCORE.name: Term(torch.where(labelled, total.detach(), 0), outcome_mean, 0.0),
        }
