"""Conservative DPO: labels are taken as wrong now and then."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from posttrain.core.implicit_reward import flip_rate
from posttrain.direct_alignment.dpo import DPO


@dataclass(frozen=True, kw_only=True)
class CDPO(DPO):
    """DPO with smoothed labels (Mitchell 2023, "A note on DPO with noisy preferences").

    ``L = -E[(1 - e) log sigmoid(beta (h_w - h_l)) + e log sigmoid(-beta (h_w - h_l))]``, e
    ``label_smoothing``

    Converges to finite gaps even where one answer always wins, with p the probability of a label that prefers
    a to b: ``beta (h_a - h_b) = logit(e + p (1 - 2e))``. This shrinks every gap; ``robust_dpo`` undoes noise.
    """

    label_smoothing: float = 0.1
    """Probability with which a label is taken for its opposite, from 0 to 0.5; larger shrinks every gap."""

    def __post_init__(self) -> None:
        super().__post_init__()
        flip_rate(self, "label_smoothing")

    def certainty(self, confidence: Tensor) -> Tensor:
        """[pairs]: the probability that the label survives one more coin."""
        return self.label_smoothing + (1 - 2 * self.label_smoothing) * confidence
