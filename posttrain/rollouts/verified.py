"""Rewards that a program reads off an answer whose one right value is known, and a coin beside them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch

from posttrain.core.seeds import derive
from posttrain.pipeline.stage import Inputs, Machine
from posttrain.rewards.protocol import Episode, Rewards


@dataclass(frozen=True, kw_only=True)
class ExactAnswer:
    """1 for an answer that ended by itself and whose last word or number is the prompt's ``answer``, else 0.

    Working before it is neither asked for nor looked at. Prompts without an ``answer`` are not scored.
    """

    @contextmanager
    def open(self, inputs: Inputs, machine: Machine) -> Iterator[ExactAnswerScorer]:
        """Needs nothing."""
        yield ExactAnswerScorer()


@dataclass(frozen=True)
class ExactAnswerScorer:
    """Compares text."""

    def score(self, episodes: Sequence[Episode]) -> Rewards:
        """Parts: ``right``, and ``readable``, 1 where the last word is of the kind that was asked for."""
        right = [e.ended and last_word(e.response) == str(e.prompt.get("answer")).lower() for e in episodes]
        scored = torch.tensor(["answer" in e.prompt for e in episodes], dtype=torch.bool)
        values = torch.tensor(right, dtype=torch.float32)
        return Rewards(values=values, scored=scored, parts={"right": values, "readable": _readable(episodes)})


@dataclass(frozen=True, kw_only=True)
class ReadableAnswer:
    """1 for an answer that ended by itself with a number where a number is asked for, or a word where a word
    is: the form of an answer alone, right or wrong.
    """

    @contextmanager
    def open(self, inputs: Inputs, machine: Machine) -> Iterator[ReadableAnswerScorer]:
        """Needs nothing."""
        yield ReadableAnswerScorer()


@dataclass(frozen=True)
class ReadableAnswerScorer:
    """Looks at the form."""

    def score(self, episodes: Sequence[Episode]) -> Rewards:
        """Parts: ``readable``, and ``right``, which is not paid."""
        shown = ExactAnswerScorer().score(episodes)
        return Rewards(values=shown.parts["readable"], scored=shown.scored, parts=shown.parts)


@dataclass(frozen=True, kw_only=True)
class CoinReward:
    """1 with ``probability``, whatever was said: the control of a reward (Shao et al. 2025, "Spurious
    rewards").
    """

    probability: float = 0.5
    seed: int = 0

    @contextmanager
    def open(self, inputs: Inputs, machine: Machine) -> Iterator[CoinScorer]:
        """Needs nothing."""
        yield CoinScorer(self.probability, self.seed)


@dataclass(frozen=True)
class CoinScorer:
    """A coin for each place of a batch and version of the weights, so that a repeated run throws the same."""

    probability: float
    seed: int

    def score(self, episodes: Sequence[Episode]) -> Rewards:
        """Parts: ``right``, where the prompt has an answer; it is not paid."""
        heads = [
            derive(self.seed, "coin", episode.version, place) < self.probability * 2**63
            for place, episode in enumerate(episodes)
        ]
        values = torch.tensor(heads, dtype=torch.float32)
        parts = ExactAnswerScorer().score(episodes).parts
        return Rewards(values=values, scored=torch.ones(len(heads), dtype=torch.bool), parts=parts)


def last_word(text: str) -> str:
    """The last word or number, in lower case; empty where there is none."""
    words = re.findall(r"[^\W_]+", text)
    return words[-1].lower() if words else ""


def _readable(episodes: Sequence[Episode]) -> torch.Tensor:
    shown = [(last_word(e.response), str(e.prompt.get("answer"))) for e in episodes]
    readable = [
        e.ended and bool(said) and said.isdigit() == wanted.isdigit()
        for e, (said, wanted) in zip(episodes, shown, strict=True)
    ]
    return torch.tensor(readable, dtype=torch.float32)
