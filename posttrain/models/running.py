"""Running mean and standard deviation of a stream of vectors."""

from __future__ import annotations

import torch
from torch import Tensor, nn

LIMIT = 10.0  # standard deviations; an input further out is read as this far out


class RunningNormaliser(nn.Module):
    """``(x - mean) / std`` of everything given to :meth:`update` so far; the identity before the first one.

    The moments are buffers: they are saved and loaded with the network that reads through them.
    """

    count: Tensor
    mean: Tensor
    variance: Tensor

    def __init__(self, width: int) -> None:
        super().__init__()
        self.register_buffer("count", torch.zeros((), dtype=torch.float64))
        self.register_buffer("mean", torch.zeros(width, dtype=torch.float64))
        self.register_buffer("variance", torch.ones(width, dtype=torch.float64))

    @torch.no_grad()
    def update(self, x: Tensor) -> None:
        """x: [N, D], more of the stream (Chan et al. 1979: the moments of two parts give those of both)."""
        new = x.double()
        total = self.count + len(new)
        delta = new.mean(0) - self.mean
        squares = self.count * self.variance + new.var(0, correction=0) * len(new)
        squares += delta.square() * self.count * len(new) / total
        self.mean += delta * len(new) / total
        self.variance.copy_(squares / total)
        self.count.copy_(total)

    def forward(self, x: Tensor) -> Tensor:
        """[..., D] -> [..., D], within ``LIMIT`` of 0."""
        std = self.variance.sqrt().clamp(min=1e-4)
        return ((x - self.mean.to(x)) / std.to(x)).clamp(-LIMIT, LIMIT)
