"""Decision processes small enough to write down, and what can be computed of them without a sample."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from posttrain.environments.base import StepResult, one_hot


@dataclass(frozen=True, eq=False)
class Table:
    """S states, A actions, float64. What a row of ``transitions`` lacks of 1 is the probability of the end.

    Raises ValueError where a probability is not one, or shapes differ.
    """

    transitions: Tensor  # [S, A, S]: p(s' | s, a)
    rewards: Tensor  # [S, A]: expected
    start: Tensor  # [S]: where it begins

    def __post_init__(self) -> None:
        states, actions = self.rewards.shape
        if self.transitions.shape != (states, actions, states) or self.start.shape != (states,):
            shapes = [tuple(x.shape) for x in (self.transitions, self.rewards, self.start)]
            raise ValueError(f"shapes {shapes}: expected [S, A, S], [S, A] and [S]")
        leaves = self.transitions.sum(-1)
        if bool((self.transitions < 0).any()) or bool((leaves > 1 + 1e-12).any()):
            raise ValueError(
                "transitions[s, a] must be probabilities that sum to 1, or less where it may end"
            )
        if bool((self.start < 0).any()) or abs(float(self.start.sum()) - 1) > 1e-12:
            raise ValueError("start must be probabilities that sum to 1")


def reward_process(table: Table, policy: Tensor) -> tuple[Tensor, Tensor]:
    """The Markov reward process that a policy [S, A] makes of it: ``P = sum_a pi(a|s) p(s'|s, a)`` [S, S] and
    ``r = sum_a pi(a|s) r(s, a)`` [S]."""
    chosen = policy.to(table.rewards)
    return torch.einsum("sa,sat->st", chosen, table.transitions), (chosen * table.rewards).sum(-1)


def policy_values(table: Table, policy: Tensor, gamma: float) -> Tensor:
    """[S]: ``v = (I - gamma P)^-1 r``, the expected discounted return from each state (Sutton and Barto 2018,
    eq. 4.4, solved). A process that goes on for ever needs gamma < 1."""
    process, rewards = reward_process(table, policy)
    return torch.linalg.solve(torch.eye(len(rewards), dtype=rewards.dtype) - gamma * process, rewards)


def action_values(table: Table, values: Tensor, gamma: float) -> Tensor:
    """[S, A]: ``q(s, a) = r(s, a) + gamma sum_s' p(s'|s, a) v(s')``."""
    return table.rewards + gamma * table.transitions @ values


def value_iteration(table: Table, gamma: float, tolerance: float = 1e-12) -> tuple[Tensor, Tensor]:
    """The optimal values [S] and a best action [S] for each state (Bellman 1957: repeat
    ``v(s) = max_a q(s, a)`` until they are within a relative ``tolerance``).

    Raises ValueError for a gamma at which it need not end.
    """
    if not 0 <= gamma < 1:
        raise ValueError(f"gamma is {gamma}, expected 0 to below 1")
    values = torch.zeros_like(table.start)
    while True:
        best = action_values(table, values, gamma).max(-1)
        size = max(1.0, float(best.values.abs().max()))
        if float((best.values - values).abs().max()) <= tolerance * (1 - gamma) * size:
            return best.values, best.indices
        values = best.values


class Walks:
    """B walks through a table, each with its own stream of chances; the observation is the state, one-hot."""

    def __init__(self, table: Table, seeds: Sequence[int], limit: int) -> None:
        self.table = table
        streams = [torch.Generator().manual_seed(seed) for seed in seeds]
        chances = [torch.rand(limit + 1, generator=g, dtype=torch.float64) for g in streams]
        self._chances = torch.stack(chances, 1)  # [limit + 1, B]
        self._time = 0
        self._state = _sampled(table.start.expand(len(seeds), -1), self._chance())
        self._over = torch.zeros(len(seeds), dtype=torch.bool)
        self.observation = self._observation()

    def step(self, actions: Tensor) -> StepResult:
        """Samples the next states; the index after the last state means termination."""
        states = len(self.table.start)
        reward = torch.where(self._over, 0.0, self.table.rewards[self._state, actions].float())
        state = _sampled(self.table.transitions[self._state, actions], self._chance())
        terminated = (state == states) & ~self._over
        self._over = self._over | terminated
        self._state = torch.where(self._over, self._state, state.clamp(max=states - 1))
        return StepResult(self._observation(), reward, terminated, torch.zeros_like(terminated))

    def _chance(self) -> Tensor:
        self._time += 1
        return self._chances[self._time - 1]

    def _observation(self) -> Tensor:
        return one_hot(self._state, len(self.table.start))


def _sampled(probabilities: Tensor, chance: Tensor) -> Tensor:
    """[B, S] and [B] -> [B]: a place for each row; S where its probabilities do not reach its chance."""
    cumulated = probabilities.cumsum(-1)
    whole = (cumulated[:, -1:] - 1).abs() < 1e-9  # no end by rounding
    cumulated = torch.where(whole & (cumulated >= cumulated[:, -1:]), 1.0, cumulated)
    return (cumulated <= chance[:, None]).sum(-1)
