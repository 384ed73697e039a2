"""A coin: the control of every reward."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import ClassVar

import torch

from posttrain.core.seeds import derive
from posttrain.pipeline.stage import Inputs, Machine
from posttrain.rewards.base import Episode, Rewards
from posttrain.rewards.exact_answer import ExactAnswerScorer


@dataclass(frozen=True, kw_only=True)
class CoinReward:
    """1 with ``probability``, whatever the answer: a control (Shao et al. 2025, "Spurious rewards")."""

    probability: float = 0.5
    """Probability that an answer is paid 1."""
    seed: int = 0
    """Seed of the coin."""

    @contextmanager
    def open(self, inputs: Inputs, machine: Machine) -> Iterator[CoinScorer]:
        """Needs nothing."""
        yield CoinScorer(self.probability, self.seed)


@dataclass(frozen=True)
class CoinScorer:
    """A coin for each answer of a version of the weights, in the order in which they come, so that a repeated
    run throws the same.
    """

    probability: float
    seed: int
    by_place: ClassVar[bool] = True  # a coin for each answer of a batch, whatever it says
    _thrown: dict[int, int] = field(default_factory=dict)  # of each version

    def score(self, episodes: Sequence[Episode]) -> Rewards:
        """Parts: ``right``, where the prompt has an answer; it is not paid."""
        heads = [self._throw(episode.version) for episode in episodes]
        values = torch.tensor(heads, dtype=torch.float32)
        parts = ExactAnswerScorer().score(episodes).parts
        return Rewards(values=values, scored=torch.ones(len(heads), dtype=torch.bool), parts=parts)

    def _throw(self, version: int) -> bool:
        throws = self._thrown.get(version, 0)
        self._thrown[version] = throws + 1
        return derive(self.seed, "coin", version, throws) < self.probability * 2**63
