"""The form of an answer alone: a control beside a reward for right ones."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from posttrain.pipeline.stage import Inputs, Machine
from posttrain.rewards.base import Episode, Rewards
from posttrain.rewards.exact_answer import ExactAnswer, ExactAnswerScorer


@dataclass(frozen=True, kw_only=True)
class ReadableAnswer:
    """1 for an answer that ended by itself with a number where a number is asked for, or a word where a word
    is: the form of an answer alone, right or wrong.
    """

    def lacks(self, prompt: Mapping[str, Any]) -> str:
        """What a prompt's row is without, where that keeps it from being scored."""
        return ExactAnswer().lacks(prompt)

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
