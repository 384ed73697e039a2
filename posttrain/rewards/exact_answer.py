"""An answer whose last word is the known one: a verifiable reward that needs nothing."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch

from posttrain.pipeline.stage import Inputs, Machine
from posttrain.rewards.base import Episode, Rewards


@dataclass(frozen=True, kw_only=True)
class ExactAnswer:
    """1 for an answer that ended by itself and whose last word or number is the prompt's ``answer``, else 0.

    Working before it is neither asked for nor looked at. Prompts without an ``answer`` are not scored.
    """

    def lacks(self, prompt: Mapping[str, Any]) -> str:
        """What a prompt's row is without, where that keeps it from being scored."""
        return "" if "answer" in prompt else "answer"

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
        return Rewards(values=values, scored=scored, parts={"right": values, "readable": readable(episodes)})


def last_word(text: str) -> str:
    """The last word or number, in lower case; empty where there is none."""
    words = re.findall(r"[^\W_]+", text)
    return words[-1].lower() if words else ""


def readable(episodes: Sequence[Episode]) -> torch.Tensor:
    """[n] 1 for a complete answer that ends in a number where the gold is one, and else in a word."""
    shown = [(last_word(e.response), str(e.prompt.get("answer"))) for e in episodes]
    readable_answers = [
        e.ended and bool(answer) and answer.isdigit() == wanted.isdigit()
        for e, (answer, wanted) in zip(episodes, shown, strict=True)
    ]
    return torch.tensor(readable_answers, dtype=torch.float32)
