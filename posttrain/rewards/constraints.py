"""Programmatic checks of what a prompt asked for: a verifiable reward."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch

from posttrain.data.constraints import judge
from posttrain.pipeline.stage import Inputs, Machine
from posttrain.rewards.protocol import Episode, Rewards


@dataclass(frozen=True, kw_only=True)
class Constraints:
    """The share of a prompt's checks that an answer obeys, from 0 to 1; 0 for an answer that a limit cut.

    Checks are those of the prompt's ``item`` (posttrain/data/constraints.py); prompts without any are not
    scored.
    """

    def lacks(self, prompt: Mapping[str, Any]) -> str:
        """What a prompt's row is without, where that keeps it from being scored."""
        return "" if (prompt.get("item") or {}).get("checks") else "checks in its item"

    @contextmanager
    def open(self, inputs: Inputs, machine: Machine) -> Iterator[ConstraintScorer]:
        """Needs nothing."""
        yield ConstraintScorer()


@dataclass(frozen=True)
class ConstraintScorer:
    """Judges text alone."""

    def score(self, episodes: Sequence[Episode]) -> Rewards:
        """Parts: ``constraints``, the share, and ``constraints/all``, 1 where every check is obeyed.

        Raises UserError for a check that is not known.
        """
        shares, scored = [], []
        for episode in episodes:
            item = episode.prompt.get("item") or {}
            scored.append(bool(item.get("checks")))
            found = judge(item, episode.response) if scored[-1] and episode.ended else {"cut": False}
            shares.append(sum(found.values()) / len(found))
        values = torch.tensor(shares)
        parts = {"constraints": values, "constraints/all": (values == 1).float()}
        return Rewards(values=values, scored=torch.tensor(scored, dtype=torch.bool), parts=parts)
