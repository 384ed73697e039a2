"""A pole on a cart, to be kept upright by pushing left or right."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from posttrain.environments.base import StepResult

GRAVITY, CART, POLE, HALF_LENGTH, FORCE, TAU = 9.8, 1.0, 0.1, 0.5, 10.0, 0.02  # SI units; tau in seconds
FAR, STEEP = 2.4, 12 * math.pi / 180  # beyond these it has fallen: metres from the middle, radians


def moved(state: np.ndarray, actions: np.ndarray) -> np.ndarray:
    """The state one step of Euler's method later (Barto, Sutton and Anderson 1983, the cart-pole equations).

    ``θ'' = (g sin θ - cos θ · f) / (l (4/3 - m_p cos² θ / m))``, ``x'' = f - m_p l θ'' cos θ / m`` with
    ``f = (F + m_p l θ'² sin θ) / m`` and m the mass of both.

    Args:
        state: [B, 4] float64: position, velocity, angle from upright, angular velocity.
        actions: [B]: 0 pushes left, 1 right.
    """
    x, speed, angle, spin = state.T
    sine, cosine = np.sin(angle), np.cos(angle)
    both = CART + POLE
    push = (np.where(actions == 1, FORCE, -FORCE) + POLE * HALF_LENGTH * spin**2 * sine) / both
    inertia = HALF_LENGTH * (4 / 3 - POLE * cosine**2 / both)
    turning = (GRAVITY * sine - cosine * push) / inertia
    rolling = push - POLE * HALF_LENGTH * turning * cosine / both
    after = np.empty_like(state)
    after[:, 0], after[:, 1] = x + TAU * speed, speed + TAU * rolling
    after[:, 2], after[:, 3] = angle + TAU * spin, spin + TAU * turning
    return after


def fallen(state: np.ndarray) -> np.ndarray:
    """[B, 4] -> [B] bool."""
    return (np.abs(state[:, 0]) > FAR) | (np.abs(state[:, 2]) > STEEP)


@dataclass(frozen=True, kw_only=True)
class CartPole:
    """The dynamics, start (every number uniform within 0.05 of 0) and reward of Gymnasium's CartPole-v1: one
    for every step, the one it falls in included, cut after ``limit``.

    With ``absorbing`` a fallen pole lies where it is and earns 0 until the limit: play has a fixed length,
    and nothing tells the learner that it is over.
    """

    limit: int = 500
    """Steps after which an episode is cut; the pole could have stood longer."""
    absorbing: bool = False
    """A fallen pole stays where it is and earns 0 until the limit, so every episode has the same length."""

    observations = 4
    actions = 2
    decision = 1

    def __post_init__(self) -> None:
        if self.limit < 1:
            raise ValueError(f"limit is {self.limit}, expected at least 1")

    def open(self, seeds: Sequence[int]) -> Carts:
        """A copy for each seed."""
        return Carts(np.stack([np.random.default_rng(seed).uniform(-0.05, 0.05, 4) for seed in seeds]), self)


class Carts:
    """B carts from the states [B, 4] float64; a fallen one stays as it fell."""

    def __init__(self, state: np.ndarray, environment: CartPole) -> None:
        self.state, self.absorbing = state, environment.absorbing
        self.lying = fallen(state)
        self.observation = _observed(state)

    def step(self, actions: Tensor) -> StepResult:
        """Push each of them."""
        standing = ~self.lying
        self.state = np.where(standing[:, None], moved(self.state, actions.numpy()), self.state)
        self.lying = fallen(self.state)
        never = torch.zeros(len(standing), dtype=torch.bool)
        return StepResult(
            observation=_observed(self.state),
            reward=torch.from_numpy(standing.astype(np.float32)),
            terminated=never if self.absorbing else torch.from_numpy(self.lying.copy()),
            truncated=never,
        )


def _observed(state: np.ndarray) -> Tensor:
    return torch.from_numpy(state.astype(np.float32))
