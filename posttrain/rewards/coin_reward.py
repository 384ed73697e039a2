"""A coin: the control of every reward."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

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
    """A coin for each answer, thrown from the seed that it was sampled with: the same in whatever batch it is
    scored, and another one for a second answer with the same words.
    """

    probability: float
    seed: int

    def score(self, episodes: Sequence[Episode]) -> Rewards:
        """Parts: ``right``, where the prompt has an answer; it is not paid."""
        heads = [self._throw(episode) for episode in episodes]
        values = torch.tensor(heads, dtype=torch.float32)
        parts = ExactAnswerScorer().score(episodes).parts
        return Rewards(values=values, scored=torch.ones(len(heads), dtype=torch.bool), parts=parts)

    def _throw(self, episode: Episode) -> bool:
        numbers = (episode.seed, episode.version, *episode.ids)  # greedy answers have one seed
        return derive(self.seed, "coin", *numbers) < self.probability * 2**63
