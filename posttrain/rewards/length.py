"""An answer of a length that was asked for."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch

from posttrain.pipeline.finding import UserError
from posttrain.pipeline.stage import Inputs, Machine
from posttrain.rewards.base import Episode, Rewards, all_scored


@dataclass(frozen=True, kw_only=True)
class Length:
    """1 for an answer of ``shortest`` to ``longest`` tokens, falling linearly to 0 over ``margin`` outside:

        r = clip(1 - max(shortest - n, n - longest, 0) / margin, 0, 1)

    n counts the tokens before the stop token; a truncated answer earns 0. With shortest 0 this is the soft
    overlong punishment of DAPO (Yu et al. 2025, equation 13) plus one.
    """

    shortest: int = 0
    """Fewest tokens that are paid in full."""
    longest: int = 256
    """Most tokens that are paid in full."""
    margin: int = 64
    """Tokens beyond either end over which the reward falls to 0; larger falls more slowly."""

    def __post_init__(self) -> None:
        if not 0 <= self.shortest <= self.longest or self.margin < 1:
            raise UserError(
                f"shortest={self.shortest}, longest={self.longest}, margin={self.margin}: expected "
                "0 <= shortest <= longest and a margin of at least 1"
            )

    @contextmanager
    def open(self, inputs: Inputs, machine: Machine) -> Iterator[LengthScorer]:
        """Needs nothing."""
        yield LengthScorer(self)


@dataclass(frozen=True)
class LengthScorer:
    """Counts tokens."""

    wanted: Length

    def score(self, episodes: Sequence[Episode]) -> Rewards:
        """Scores everything; parts: ``length``."""
        lengths = torch.tensor([len(e.logprobs) - e.ended for e in episodes], dtype=torch.float32)
        over = torch.maximum(self.wanted.shortest - lengths, lengths - self.wanted.longest).clamp(min=0)
        values = (1 - over / self.wanted.margin).clamp(0, 1)
        return all_scored(values * torch.tensor([float(e.ended) for e in episodes]), "length")
