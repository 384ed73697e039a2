"""The average of weights over a run: what noise did to them cancels, what the gradient did does not."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor


class Average:
    """An exponential moving average (Polyak and Juditsky 1992; InstructGPT 2022, appendix C, decay 0.992).

    ``a_n = sum_i decay^(n - i) w_i / sum_i decay^(n - i)`` over the updates i = 1 .. n: the weights it began
    with are no part of it. Kept in fp32 or wider.
    """

    def __init__(self, parameters: Sequence[Tensor], decay: float) -> None:
        """Raises ValueError for a decay outside (0, 1)."""
        if not 0 < decay < 1:
            raise ValueError(f"decay is {decay}, expected between 0 and 1")
        self._parameters, self._decay, self._total = list(parameters), decay, 0.0
        self._mean = [p.detach().to(torch.promote_types(p.dtype, torch.float32)) * 0 for p in parameters]

    @torch.no_grad()
    def add(self) -> None:
        """The weights as they are now, after an update."""
        self._total = self._decay * self._total + 1
        for mean, weight in zip(self._mean, self._parameters, strict=True):
            mean += (weight.detach().to(mean) - mean) / self._total

    def state_dict(self) -> dict[str, Any]:
        """What a checkpoint holds of it."""
        return {"total": self._total, "mean": self._mean}

    @torch.no_grad()
    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Goes on from :meth:`state_dict`."""
        self._total = state["total"]
        for mean, saved in zip(self._mean, state["mean"], strict=True):
            mean.copy_(saved)

    @torch.no_grad()
    def take_over(self) -> None:
        """The average becomes the weights. Raises ValueError where none were added."""
        if not self._total:
            raise ValueError("no weights were added, so there is nothing to average")
        for mean, weight in zip(self._mean, self._parameters, strict=True):
            weight.copy_(mean)
