"""Programmatic checks of what a prompt asked for: a verifiable reward."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch

from posttrain.data.constraints import obeyed
from posttrain.pipeline.finding import UserError
from posttrain.pipeline.stage import Inputs, Machine, later
from posttrain.rewards.base import Episode, Rewards


@dataclass(frozen=True, kw_only=True)
class Constraints:
    """The share of a prompt's checks that an answer obeys, from 0 to 1; 0 for a truncated answer.

    A fraction ``whole`` of the reward, from 0 to 1, is paid only where every check is obeyed: the share alone
    would pay as much for the easy checks as for the last missing one.

    The checks are in the prompt's ``item`` (posttrain/data/constraints.py). Prompts without any
    are not scored.
    """

    whole: float = later(0.0)
    """Share of the reward that is paid only where every check is obeyed; 0 pays each check alike."""

    def __post_init__(self) -> None:
        if not 0.0 <= self.whole <= 1.0:
            raise UserError(f"whole={self.whole}: expected a share of the reward, from 0 to 1")

    def lacks(self, prompt: Mapping[str, Any]) -> str:
        """What a prompt's row is without, where that keeps it from being scored."""
        return "" if (prompt.get("item") or {}).get("checks") else "checks in its item"

    @contextmanager
    def open(self, inputs: Inputs, machine: Machine) -> Iterator[ConstraintScorer]:
        """Needs nothing."""
        yield ConstraintScorer(self.whole)


@dataclass(frozen=True)
class ConstraintScorer:
    """Judges text alone; ``whole`` of the reward is paid for all checks together."""

    whole: float = 0.0

    def score(self, episodes: Sequence[Episode]) -> Rewards:
        """Parts: ``constraints``, the share, and ``constraints/all``, 1 where every check is obeyed.

        Raises UserError for a check that is not known.
        """
        shares, scored = [], []
        for episode in episodes:
            item = episode.prompt.get("item") or {}
            scored.append(bool(item.get("checks")))
            shares.append(obeyed(item, episode.response) if scored[-1] and episode.ended else 0.0)
        share = torch.tensor(shares)
        every = (share == 1).float()
        values = (1 - self.whole) * share + self.whole * every
        parts = {"constraints": share, "constraints/all": every}
        return Rewards(values=values, scored=torch.tensor(scored, dtype=torch.bool), parts=parts)
