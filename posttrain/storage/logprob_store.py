"""What a model says of token rows, on disk."""

from __future__ import annotations

import torch
from torch import Tensor

from posttrain.storage.scratch import ScratchSequence


class LogprobStore(ScratchSequence[Tensor]):
    """Of each row the log-probabilities of its chosen steps, [steps] float32."""

    def append(self, logprobs: Tensor) -> None:
        """One more row's."""
        self._append(logprobs.detach().float().cpu().numpy().tobytes())

    def read(self, index: int) -> Tensor:
        return torch.frombuffer(bytearray(self._bytes(index)), dtype=torch.float32)
