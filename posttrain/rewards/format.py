"""An answer in the sections that were asked for."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch

from posttrain.pipeline.finding import UserError
from posttrain.pipeline.stage import Inputs, Machine
from posttrain.rewards.base import Episode, Rewards, all_scored


@dataclass(frozen=True, kw_only=True)
class Format:
    """1 for an answer that is the sections ``<tag>...</tag>`` in this order, each once and not empty, with
    nothing beside them, and that ends by itself; else 0.

    The format reward of DeepSeek-R1-Zero (DeepSeek-AI 2025, section 2.2.2). It asks nothing of what the
    sections say, so alone it teaches nothing but tags. ``begun``: the prompt has opened the first section.
    """

    tags: tuple[str, ...] = ("think", "answer")
    """Names of the sections that an answer must have, in this order."""
    begun: bool = False
    """The prompt has opened the first section already."""

    def __post_init__(self) -> None:
        if (
            not self.tags
            or len(set(self.tags)) < len(self.tags)
            or not all(t.isidentifier() for t in self.tags)
        ):
            raise UserError(f"tags are {self.tags}, expected different names such as think, answer")

    @contextmanager
    def open(self, inputs: Inputs, machine: Machine) -> Iterator[FormatScorer]:
        """Needs nothing."""
        yield FormatScorer(self)


@dataclass(frozen=True)
class FormatScorer:
    """Judges text alone."""

    wanted: Format

    def score(self, episodes: Sequence[Episode]) -> Rewards:
        """Scores everything; parts: ``format``."""
        formatted = [episode.ended and self._keeps(episode.response) for episode in episodes]
        return all_scored(torch.tensor(formatted, dtype=torch.float32), "format")

    def _keeps(self, text: str) -> bool:
        rest = (f"<{self.wanted.tags[0]}>" if self.wanted.begun else "") + text.strip()
        marks = [mark for tag in self.wanted.tags for mark in (f"<{tag}>", f"</{tag}>")]
        if any(rest.count(mark) != 1 for mark in marks):
            return False
        for tag in self.wanted.tags:
            before, _, rest = rest.partition(f"<{tag}>")
            inside, closed, rest = rest.partition(f"</{tag}>")
            if before.strip() or not closed or not inside.strip():
                return False
        return not rest.strip()
