"""Environments as a policy acts in them: many copies of one environment at a time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor


@dataclass(frozen=True)
class Moved:
    """What came of one action in each of B copies."""

    observation: Tensor  # [B, D] float32, of the state that the action led to
    reward: Tensor  # [B] float32
    ended: Tensor  # [B] bool: by itself, in a state worth 0
    cut: Tensor  # [B] bool: by a limit of its own; it could have gone on


class Copies(Protocol):
    """B copies, begun. A copy that has ended or was cut stays as it is and earns 0, whatever is done."""

    observation: Tensor  # [B, D] float32, of the states they begin in

    def step(self, actions: Tensor) -> Moved:
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
    def open(self, seeds: Sequence[int]) -> Copies: ...  # a copy for each seed, the same for the same seed


def one_hot(places: Tensor, width: int) -> Tensor:
    """[B] long -> [B, width] float32."""
    return torch.eye(width)[places]
