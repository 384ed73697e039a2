"""Words of a few letters in answer to a prompt: the smallest world in which an answer is said letter by
letter and, until it is whole, nothing moves the state but what was said.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from posttrain.environments.base import StepResult, one_hot


@dataclass(frozen=True, kw_only=True)
class Writing:
    """Each of ``prompts`` prompts has a word of ``length`` letters. Every letter that is right earns 1, at
    most ``length * turns``. The observation is the prompt and what was said since, one-hot.

    With ``whole`` the letters of a word are one decision. With more than one of ``turns`` the world answers a
    word: by the next prompt if every letter was right, by the end if not.
    """

    prompts: int = 3
    """Number of prompts, each with a word of its own."""
    letters: int = 4
    """Size of the alphabet."""
    length: int = 3
    """Letters of a word."""
    turns: int = 1
    """Most words of an episode; a right word is answered by the next prompt, a wrong one ends it."""
    whole: bool = False
    """A word is one decision with ``letters ** length`` choices, not one decision a letter."""
    seed: int = 0
    """Seed of the words."""

    def __post_init__(self) -> None:
        if min(self.prompts, self.length, self.turns) < 1 or self.letters < 2:
            raise ValueError(f"{self}: expected at least 1 prompt, 2 letters, length 1 and 1 turn")

    @property
    def actions(self) -> int:
        """The letters."""
        return self.letters

    @property
    def observations(self) -> int:
        """The prompts, and for each place the letters."""
        return self.prompts + self.length * self.letters

    @property
    def limit(self) -> int:
        """As long as it can be; it ends by itself."""
        return self.length * self.turns

    @property
    def decision(self) -> int:
        """Letters of one decision."""
        return self.length if self.whole else 1

    @property
    def words(self) -> Tensor:
        """[prompts, length]: what is right to say."""
        chance = random.Random(f"words:{self.seed}")
        return torch.tensor(
            [[chance.randrange(self.letters) for _ in range(self.length)] for _ in range(self.prompts)]
        )

    def open(self, seeds: Sequence[int]) -> Pages:
        """A page for each seed."""
        return Pages(self, seeds)


class Pages:
    """B answers being written."""

    def __init__(self, world: Writing, seeds: Sequence[int]) -> None:
        self._world, self._words = world, world.words
        self._prompt = torch.tensor([random.Random(seed).randrange(world.prompts) for seed in seeds])
        self._written = torch.zeros(len(seeds), world.length, world.letters)
        self._right = torch.ones(len(seeds), dtype=torch.bool)  # every letter since the prompt
        self._over = torch.zeros(len(seeds), dtype=torch.bool)
        self._time = 0
        self.observation = self._observation()

    def step(self, actions: Tensor) -> StepResult:
        """Writes a letter; after the last letter of a word the environment answers."""
        position, going = self._time % self._world.length, ~self._over
        right = actions == self._words[self._prompt, position]
        reward = (right & going).float()
        self._right = self._right & right
        self._written[:, position] = one_hot(actions, self._world.letters)
        self._time += 1
        terminated = torch.zeros_like(going)
        if self._time % self._world.length == 0:
            last = self._time == self._world.limit
            terminated = going & (~self._right | torch.tensor(last))
            self._over = self._over | terminated
            if not last:
                self._answer()
        return StepResult(self._observation(), reward, terminated, torch.zeros_like(going))

    def _answer(self) -> None:
        """The next prompt, and an empty page."""
        self._prompt = (self._prompt + 1) % self._world.prompts
        self._written = torch.zeros_like(self._written)
        self._right = torch.ones_like(self._right)

    def _observation(self) -> Tensor:
        return torch.cat([one_hot(self._prompt, self._world.prompts), self._written.flatten(1)], 1)
