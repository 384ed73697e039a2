"""Online DPO that looks for answers it has not tried."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch

from posttrain.core.batch import Evaluation, PreferenceBatch, Rollouts, Term, Wants
from posttrain.core.implicit_reward import sequence_logprob
from posttrain.core.masked import masked_sum
from posttrain.core.ranges import above_zero, not_negative
from posttrain.core.reduction import row_mean
from posttrain.metrics import declare_metric
from posttrain.policy_gradients.online_dpo import OnlineDPO

BONUS = declare_metric(
    "bonus",
    "XPO's optimistic exploration term, before its weight alpha.",
    unit="nats per completion",
    better="none",
)


@dataclass(frozen=True, kw_only=True)
class XPO(OnlineDPO):
    """Exploratory preference optimization, Xie et al. 2024, algorithm 1.

    ``L = L_DPO + alpha E_{y ~ ref}[log pi(y|x)]``

    The bonus takes probability from answers that the reference is likely to give. Its expectation is over
    the reference's samples; rows here come from the policy, so each has the weight ``ref(y) /
    sampler(y)``, at most ``max_weight`` (1 for a row that the reference sampled). Converges to online
    DPO's optimum as alpha goes to 0. At a fixed alpha the optimum is biased by the bonus, and a truncated
    weight makes the bonus smaller.
    """

    alpha: float = 1e-3
    """Weight of the exploration bonus; larger takes more probability from what the reference would say."""
    max_weight: float = 10.0
    """Largest importance weight of a row in the bonus; larger is less biased and noisier."""

    def __post_init__(self) -> None:
        super().__post_init__()
        not_negative(self, "alpha")
        above_zero(self, "max_weight")

    @property
    def wants(self) -> Wants:
        """The reference always, and the trainer's log-probabilities where a sampler's are not known."""
        return replace(super().wants, reference=True, before=True)

    def credit(self, rollouts: Rollouts, before: Evaluation, reference: Evaluation | None) -> PreferenceBatch:
        """Best and worst of each group; ``baseline`` [B] holds the bonus's weight of every row."""
        if reference is None:
            raise ValueError("XPO explores away from a reference, and there is none")
        sampler = torch.where(rollouts.logprobs.isnan(), before.logprobs, rollouts.logprobs)
        ratio = masked_sum(reference.logprobs - sampler.to(reference.logprobs), rollouts.action_mask)
        weight = ratio.exp().clamp(max=self.max_weight)
        return replace(super().credit(rollouts, before, reference), baseline=weight)

    def loss(self, now: Evaluation, batch: PreferenceBatch) -> dict[str, Term]:
        """The alignment loss's terms, and ``bonus`` [B]."""
        if batch.baseline is None:
            raise ValueError("XPO needs the weights that credit() found")
        bonus = batch.baseline * sequence_logprob(now, batch)
        return super().loss(now, batch) | {BONUS.name: Term(bonus, row_mean, self.alpha)}
