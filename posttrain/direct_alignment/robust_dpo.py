"""Robust DPO: labels of which a known share is wrong."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from posttrain.core.implicit_reward import flip_rate
from posttrain.direct_alignment.dpo import DPO


@dataclass(frozen=True, kw_only=True)
class RobustDPO(DPO):
    """Chowdhury et al. 2024, eq. 10.

    ``L = -E[(1 - e) log sigmoid(d) - e log sigmoid(-d)] / (1 - 2e)``, ``d = beta (h_w - h_l)``, e ``flipped``

    Its expectation over labels flipped at rate e is the DPO loss of the clean labels, so it converges to
    DPO's optimum of the clean labels; DPO itself would find smaller gaps. Unbiased, not free: the variance
    grows by 1 / (1 - 2e)^2, and with few pairs the loss has no lower bound, so stop early.
    """

    flipped: float = 0.1
    """Share of the labels that are wrong, from 0 to below 0.5; the loss corrects for that rate."""

    def __post_init__(self) -> None:
        super().__post_init__()
        flip_rate(self, "flipped")

    def certainty(self, confidence: Tensor) -> Tensor:
        """[pairs]: above 1 for a sure label, so that its expectation over flips is the clean one's."""
        return (confidence - self.flipped) / (1 - 2 * self.flipped)
