"""Anchored preference optimization for a model that is better than the preferred answers."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from posttrain.direct_alignment.apo_zero import APOZero


@dataclass(frozen=True, kw_only=True)
class APODown(APOZero):
    """APO-down, D'Oosterlinck et al. 2024, eq. 6.

    ``L = E[sigmoid(beta h_w) + 1 - sigmoid(beta (h_w - h_l))]``, ``h(y) = log pi(y|x) - log ref(y|x)``

    Lowers both answers of a pair and the other one more: for pairs whose preferred answer is still worse than
    what the model would say. Converges to no finite policy: every answer that was compared falls without
    bound, and what was not compared gets their probability.
    """

    def anchored(self, won: Tensor, lost: Tensor) -> Tensor:
        """[pairs]: the loss of implicit rewards."""
        return torch.sigmoid(won) + torch.sigmoid(lost - won)
