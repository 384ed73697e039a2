"""Environments as a policy acts in them: many copies of one environment at a time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor


@dataclass(frozen=True)
class StepResult:
    """The result of one action in each of B environments, with Gymnasium's two kinds of end."""

    observation: Tensor  # [B, D] float32, of the state that the action led to
    reward: Tensor  # [B] float32
    terminated: Tensor  # [B] bool: ended in a state worth 0
    truncated: Tensor  # [B] bool: stopped by the environment's own limit; it could have gone on


class VectorEnv(Protocol):
    """B started environments. After termination or truncation one keeps its state and its rewards are 0."""

    observation: Tensor  # [B, D] float32, of the states they begin in

    def step(self, actions: Tensor) -> StepResult:
        """actions: [B] long."""


class Environment(Protocol):
    """Settings of an environment; ``open`` makes the live copies.

    ``decision`` is how many steps make up one choice: 1 in environments, all of them where a completion
    is one action.
    """

    @property
    def observations(self) -> int: ...  # D
    @property
    def actions(self) -> int: ...
    @property
    def limit(self) -> int: ...  # steps after which play is cut
    @property
    def decision(self) -> int: ...
    def open(self, seeds: Sequence[int]) -> VectorEnv: ...  # a copy for each seed, the same for the same seed


def one_hot(places: Tensor, width: int) -> Tensor:
    """[B] long -> [B, width] float32."""
    return torch.eye(width)[places]
