"""Direct alignment on the policy's own answers."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from posttrain.core.batch import DirectAlignment, Evaluation, PreferenceBatch, Rollouts, Term, Wants
from posttrain.core.preferences import best_and_worst
from posttrain.core.ranges import at_least_one, not_negative
from posttrain.direct_alignment.dpo import DPO


@dataclass(frozen=True, kw_only=True)
class OnlineDPO:
    """Guo et al. 2024 (OAIF): each prompt's answers are sampled now, ranked by their reward, and paired.

    ``L = L_alignment`` (DPO's by default) on the best and the worst paid answer of each prompt, the best one
    preferred with probability ``sigmoid((r_w - r_l) / label_temperature)``

    With DPO and ``label_temperature`` 1 converges to ``pi ~ ref exp(r / alignment.beta)``: labels are the
    expectation of what Bradley and Terry's annotator of reward r would say. With labels that are always
    certain (``label_temperature`` 0, the usual judge) gaps grow without bound; what it then converges to is
    set by when it stops.
    """

    alignment: DirectAlignment = field(default_factory=DPO)
    """The loss on the best and the worst answer to each prompt: a file of ``direct_alignment``."""
    label_temperature: float = 1.0
    """Reward gap at which a preference is 73 % certain; 0 is always certain."""
    epochs: int = 1
    """How often each batch of answers is learned from; larger reuses answers further from the policy."""
    minibatches: int = 1
    """Updates that a batch is divided into; larger takes more and noisier steps."""

    def __post_init__(self) -> None:
        not_negative(self, "label_temperature")
        at_least_one(self, "epochs", "minibatches")
        if self.alignment.wants.measure:
            raise ValueError(
                f"{type(self.alignment).__name__} measures the current policy on the whole batch, for "
                "which the loop of reinforcement has no place"
            )

    @property
    def wants(self) -> Wants:
        """What the alignment loss wants, entropy to report, and a prompt's answers side by side."""
        return replace(self.alignment.wants, entropy=True, group=True, whole_groups=True)

    def keep(self, rollouts: Rollouts) -> Tensor:
        """[B] bool: all rows."""
        return torch.ones_like(rollouts.truncated)

    def credit(self, rollouts: Rollouts, before: Evaluation, reference: Evaluation | None) -> PreferenceBatch:
        """Best and worst of each group. Raises ValueError where no group has two rows."""
        judged = best_and_worst(rollouts, self.label_temperature)
        return replace(judged, reference=reference)

    def loss(self, now: Evaluation, batch: PreferenceBatch) -> dict[str, Term]:
        """The alignment loss's terms."""
        return self.alignment.loss(now, batch)
