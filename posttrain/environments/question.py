"""A question and one answer: the bandit of RLHF (T = 1). The reward comes from a reward source, not from
here.
"""

from __future__ import annotations

import random
from array import array
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from posttrain.core.seeds import derive

Prompt = Mapping[str, Any]  # {"prompt": messages, ...}; what else it holds is for rewards and reports


@dataclass(frozen=True, kw_only=True)
class Observation:
    """What the policy is asked."""

    number: int  # place of the prompt among the prompts
    prompt: Prompt


@dataclass(frozen=True, kw_only=True)
class Step:
    """What came of an action. ``reward`` is the environment's own; ``observation`` is None at the end."""

    observation: Observation | None
    reward: float
    done: bool


@lru_cache(maxsize=4)
def _order(count: int, seed: int, epoch: int) -> array[int]:
    order = array("q", range(count))
    random.Random(derive(seed, "prompts", epoch)).shuffle(order)
    return order


@dataclass(frozen=True)
class Deck:
    """An endless deck of the numbers below ``count``, shuffled anew each time it has been gone through.

    Holds no place in the deck: ``card(n)`` is the n-th for the same count and seed, so nothing is lost or
    repeated when a run continues.
    """

    count: int
    seed: int = 0

    def card(self, place: int) -> int:
        """The number at a place, from 0."""
        epoch, place = divmod(place, self.count)
        return _order(self.count, self.seed, epoch)[place]


@dataclass(frozen=True)
class Question:
    """Prompts in the order of a ``Deck``. Raises ValueError without prompts."""

    prompts: Sequence[Prompt]
    """What is asked."""
    seed: int = 0
    """Seed of the order of the prompts."""

    def __post_init__(self) -> None:
        if not self.prompts:
            raise ValueError("no prompts to ask")

    def reset(self, seed: int) -> Observation:
        """The question at place ``seed`` of the deck, from 0."""
        number = Deck(len(self.prompts), self.seed).card(seed)
        return Observation(number=number, prompt=self.prompts[number])

    def step(self, action: str) -> Step:
        """Any answer ends it."""
        return Step(observation=None, reward=0.0, done=True)
