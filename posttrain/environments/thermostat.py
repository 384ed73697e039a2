"""Keeping a room warm for little heating: a task without an end, small enough to solve."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from posttrain.environments.tabular import Table, Walks


@dataclass(frozen=True, kw_only=True)
class Thermostat:
    """Temperatures of whole degrees from ``coldest`` to ``warmest``; the action is how much to heat: 0 off, 1
    low, 2 high.

    In a step the room warms by one degree with probability 0, 0.5 or 0.9 for the three actions; if not, it
    cools by one with probability ``leak``, lower the colder it is. The reward is comfort,
    ``max(0, 1 - ((degrees - wanted) / 6)^2)``, less ``price`` times the action squared. It never ends: play
    is cut after ``limit`` steps, and what a cut row would still have earned is the critic's to say.
    """

    coldest: int = 12
    """Lowest temperature, in whole degrees."""
    warmest: int = 26
    """Highest temperature, in whole degrees."""
    wanted: int = 20
    """Temperature at which comfort is 1, in degrees; 6 degrees away it is 0."""
    leak: float = 0.6
    """Probability that the room cools by a degree in a step at the warmest; half of it at the coldest."""
    price: float = 0.1
    """Cost of heating, times the square of the action (0, 1 or 2); larger heats less."""
    limit: int = 40
    """Steps after which an episode is cut; the critic estimates the rest."""

    actions = 3
    decision = 1

    def __post_init__(self) -> None:
        if not self.coldest <= self.wanted <= self.warmest or self.coldest == self.warmest:
            raise ValueError(
                f"coldest, wanted, warmest are {self.coldest}, {self.wanted}, {self.warmest}: expected rising"
            )
        if not 0 <= self.leak <= 1 or self.price < 0 or self.limit < 1:
            raise ValueError(
                f"leak is {self.leak}, price {self.price}, limit {self.limit}: expected a probability, 0 or "
                "more, and at least 1"
            )

    @property
    def observations(self) -> int:
        """One for each temperature."""
        return self.warmest - self.coldest + 1

    @property
    def degrees(self) -> list[int]:
        """The temperature of each state."""
        return list(range(self.coldest, self.warmest + 1))

    def table(self) -> Table:
        """The whole process; it begins at any temperature."""
        states = self.observations
        transitions = torch.zeros(states, self.actions, states, dtype=torch.float64)
        rewards = torch.zeros(states, self.actions, dtype=torch.float64)
        for s, degrees in enumerate(self.degrees):
            cools = self.leak * (0.5 + 0.5 * s / (states - 1))
            for action, warms in enumerate((0.0, 0.5, 0.9)):
                for after, chance in (
                    (s + 1, warms),
                    (s - 1, (1 - warms) * cools),
                    (s, (1 - warms) * (1 - cools)),
                ):
                    transitions[s, action, min(max(after, 0), states - 1)] += chance
                comfort = max(0.0, 1 - ((degrees - self.wanted) / 6) ** 2)
                rewards[s, action] = comfort - self.price * action**2
        start = torch.full((states,), 1 / states, dtype=torch.float64)
        return Table(transitions, rewards, start)

    def open(self, seeds: Sequence[int]) -> Walks:
        """A room for each seed."""
        return Walks(self.table(), seeds, self.limit)
