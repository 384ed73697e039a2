"""Is each step right?"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from posttrain.core.batch import PreferenceBatch, Term, Wants
from posttrain.core.implicit_reward import ACCURACY
from posttrain.core.reduction import labelled_mean
from posttrain.metrics import declare_metric

PROCESS_LOSS = declare_metric(
    "process_loss",
    "Binary cross-entropy of labelled steps, mean over them; ln 2 is a guess.",
    unit="nats per step",
    better="down",
    title="Loss of a step",
    order=2,
)


@dataclass(frozen=True, kw_only=True)
class Process:
    """Process reward models, Uesato et al. 2022 and Lightman et al. 2023.

    ``L = -E[y_t log sigmoid(r_t) + (1 - y_t) log sigmoid(-r_t)]``

    with r_t the reward of a step, y_t its label (1 right, 0 wrong, NaN without a label, such as inside a
    line whose end is labelled) and E the mean over labelled steps. Converges to the log-odds that the step is
    right given what stands before it. The first step that is likely wrong is the answer's fault; the
    product of sigmoid(r_t) is the probability that none is.
    """

    @property
    def wants(self) -> Wants:
        """Rows stand alone."""
        return Wants(before=False, entropy=False)

    def loss(self, scores: Tensor, batch: PreferenceBatch) -> dict[str, Term]:
        """``scores``: [B, T] rewards per step; terms are [B, T]. Raises ValueError without labels."""
        if batch.labels is None:
            raise ValueError("a process reward model learns from labels [B, T], and this batch has none")
        spoken = batch.rollouts.action_mask & ~batch.labels.isnan()
        label = torch.where(spoken, batch.labels, 0).to(scores)
        inside = torch.where(spoken, scores, 0)
        nll = F.binary_cross_entropy_with_logits(inside, label, reduction="none")
        correct = ((inside > 0) == (label > 0.5)).to(scores)
        return {
            PROCESS_LOSS.name: Term(torch.where(spoken, nll, 0), labelled_mean),
            ACCURACY.name: Term(torch.where(spoken, correct, 0), labelled_mean, 0.0),
        }
