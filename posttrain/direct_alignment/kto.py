"""Kahneman-Tversky optimization: answers that are wanted or not, each on its own."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from posttrain.core.batch import Evaluation, PreferenceBatch, Term, Wants
from posttrain.core.implicit_reward import ACCURACY, REWARD_CHOSEN, REWARD_REJECTED, log_ratio
from posttrain.core.masked import wide
from posttrain.core.ranges import above_zero
from posttrain.core.reduction import ranked_mean
from posttrain.metrics import declare_metric

ROW_LOSS = declare_metric(
    "row_loss",
    "KTO's loss, mean over rated answers; one half of the weight of an answer is a guess.",
    unit="loss per answer",
    better="down",
    title="Loss of a rated answer",
    order=2,
)
BASELINE = declare_metric(
    "baseline",
    "KTO's reference point: the estimate of KL(policy || reference) that implicit rewards are compared "
    "with, never below 0.",
    unit="nats per completion",
    better="none",
)


@dataclass(frozen=True, kw_only=True)
class KTO:
    """Ethayarajh et al. 2024, eqs. 7-8.

    ``L = E[wanted: d (1 - sigmoid(beta (h - z))); unwanted: u (1 - sigmoid(beta (z - h)))]``

    with ``h(y) = log pi(y|x) - log ref(y|x)``, d and u the weights ``desirable`` and ``undesirable``, and z
    the baseline max(0, mean h) over the optimizer batch's rows of rank -1, which are answers to other
    prompts: an estimate of KL(pi || ref) that carries no gradient. Without such rows z is 0. Rank 0 is
    wanted, lower ranks are not; E is the mean over judged rows.

    Converges to no finite policy: where a share p wants an answer the loss is linear in sigmoid(beta (h -
    z)), so its optimum is all or nothing, by the sign of ``p d - (1 - p) u``. Saturation, few epochs and a
    small learning rate are what keeps it near.
    """

    beta: float = 0.1
    """Scale of the log-ratio to the reference; larger saturates sooner, so the policy moves less."""
    desirable: float = 1.0
    """Weight of answers that are wanted; balance it with ``undesirable`` where one kind is rare."""
    undesirable: float = 1.0
    """Weight of answers that are not wanted."""

    def __post_init__(self) -> None:
        above_zero(self, "beta", "desirable", "undesirable")

    @property
    def wants(self) -> Wants:
        """The reference, and the current policy on the whole optimizer batch first."""
        return Wants(before=False, entropy=False, reference=True, measure=True)

    def measure(self, now: Evaluation, batch: PreferenceBatch) -> PreferenceBatch:
        """The baseline, one number for all rows, [B]."""
        h, other = wide(log_ratio(now, batch).detach()), batch.rank < 0
        mean = torch.where(other, h, 0).sum() / other.sum().clamp(min=1)
        return replace(batch, baseline=mean.clamp(min=0).to(now.logprobs).expand(len(batch.rank)))

    def loss(self, now: Evaluation, batch: PreferenceBatch) -> dict[str, Term]:
        """``row_loss`` [B]; the implicit rewards less the baseline, as metrics."""
        if batch.baseline is None:
            raise ValueError(
                "KTO compares with a baseline: call measure() on the whole optimizer batch first"
            )
        reward = self.beta * (log_ratio(now, batch) - batch.baseline)
        good = self.desirable * torch.sigmoid(-reward)
        bad = self.undesirable * torch.sigmoid(reward)
        is_wanted, judged = batch.rank == 0, batch.rank >= 0
        sure = batch.confidence.to(reward)
        loss = torch.where(is_wanted, sure * good + (1 - sure) * bad, sure * bad + (1 - sure) * good)

        def figure(values: Tensor, rows: Tensor) -> Term:
            return Term(torch.where(rows, values.detach(), 0), ranked_mean, 0.0)

        correct = torch.where(is_wanted, reward > 0, reward < 0)
        return {
            ROW_LOSS.name: Term(torch.where(judged, loss, 0), ranked_mean),
            ACCURACY.name: figure(correct.to(reward), judged),
            REWARD_CHOSEN.name: figure(reward, is_wanted),
            REWARD_REJECTED.name: figure(reward, judged & ~is_wanted),
            BASELINE.name: figure(batch.baseline.to(reward), judged),
        }
