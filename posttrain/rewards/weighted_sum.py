"""Several rewards as one: the weighted sum, each part kept in sight."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import torch

from posttrain.pipeline.finding import UserError
from posttrain.pipeline.stage import Inputs, Machine
from posttrain.rewards.base import (
    Episode,
    Rewards,
    RewardSource,
    Scorer,
    lacking,
    opened,
    pays_by_place,
    rewards_of,
)


@dataclass(frozen=True, kw_only=True)
class Weighted:
    """One summand, under the name by which reports show it."""

    name: str
    """Name of the summand in reports."""
    reward: RewardSource
    """The reward source."""
    weight: float = 1.0
    """Factor of the reward; below 0 it is a cost."""


@dataclass(frozen=True, kw_only=True)
class WeightedSum:
    """sum of weight * reward. An answer counts as scored only where every summand could score it."""

    parts: tuple[Weighted, ...]
    """The summands."""

    def lacks(self, prompt: Mapping[str, Any]) -> str:
        """The columns that a prompt's row lacks, without which some summand cannot score it; else empty."""
        return ", ".join(missing for part in self.parts if (missing := lacking(part.reward, prompt)))

    def __post_init__(self) -> None:
        names = [part.name for part in self.parts]
        if not names or len(set(names)) < len(names):
            raise UserError(
                f"a weighted sum of {names}: expected at least one part, each with a name of its own"
            )

    @contextmanager
    def open(self, inputs: Inputs, machine: Machine) -> Iterator[SumScorer]:
        """Opens every summand and closes all of them, whatever happens."""
        with ExitStack() as stack:
            live = [stack.enter_context(opened(part.reward, inputs, machine)) for part in self.parts]
            yield SumScorer([(p.name, scorer, p.weight) for p, scorer in zip(self.parts, live, strict=True)])


@dataclass(frozen=True)
class SumScorer:
    """Scorers in memory with their names and weights."""

    scorers: Sequence[tuple[str, Scorer, float]]

    @property
    def by_place(self) -> bool:
        """As one of its scorers is."""
        return any(pays_by_place(scorer) for _, scorer, _ in self.scorers)

    def score(self, episodes: Sequence[Episode]) -> Rewards:
        """Parts: each summand's reward before its weight, under its name, and its own parts as NAME/PART."""
        values = torch.zeros(len(episodes))
        scored = torch.ones(len(episodes), dtype=torch.bool)
        parts: dict[str, torch.Tensor] = {}
        failed: dict[int, str] = {}
        for name, scorer, weight in self.scorers:
            given = rewards_of(scorer, episodes, name)
            # Rows that this scorer could not score may hold anything, NaN included.
            values += weight * torch.where(given.scored, given.values, 0.0)
            scored &= given.scored
            failed |= given.failed
            parts[name] = given.values
            parts |= {f"{name}/{part}": value for part, value in given.parts.items() if part != name}
        return Rewards(values=values, scored=scored, parts=parts, failed=failed)
