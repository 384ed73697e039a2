"""Stretches of play that are compared: which rows, and where in them they begin."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from posttrain.core.batch import Rollouts, take
from posttrain.models.mlp import OBSERVATIONS


def stretches(facts: Rollouts, rows: Tensor, begins: Tensor, length: int) -> Rollouts:
    """The ``length`` steps from ``begins[i]`` on of row ``rows[i]``, each a row of its own. The first and the
    second, the third and the fourth and so on are a group."""
    whole = take(facts, rows)

    def at(x: Tensor, steps: int) -> Tensor:
        return x[torch.arange(len(rows))[:, None], begins[:, None] + torch.arange(steps)]

    return replace(
        whole,
        context={OBSERVATIONS: at(whole.context[OBSERVATIONS], length + 1)},
        actions=at(whole.actions, length),
        action_mask=at(whole.action_mask, length),
        turn=at(whole.turn, length),
        logprobs=at(whole.logprobs, length),
        rewards=at(whole.rewards, length),
        truncated=torch.ones_like(whole.truncated),
        group=torch.arange(len(rows)) // 2,
        parts={},
    )


def begins(facts: Rollouts, rows: Tensor, length: int, generator: torch.Generator) -> Tensor:
    """[n]: where a stretch of each row begins, half of them anywhere and half where the observation changes,
    so that people see more than still frames. Raises ValueError for a stretch longer than play.
    """
    observations = facts.context[OBSERVATIONS][rows]
    room = observations.shape[1] - length
    if room < 1:
        raise ValueError(f"stretches of {length} steps do not fit into play of {observations.shape[1] - 1}")
    fit_in = (observations[:, 1 : room + 1] != observations[:, :room]).any(-1)
    fit_in |= torch.rand(len(rows), 1, generator=generator) < 0.5
    fit_in[:, 0] = True
    return torch.multinomial(fit_in.float(), 1, generator=generator)[:, 0]


def balanced(facts: Rollouts, count: int, length: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """[n] rows, and [n] the step at which a stretch of each begins. Half of the stretches begin with a step
    that moves, half end with one that does not, each kind drawn from the whole batch (from anywhere, where
    the batch has none). Raises ValueError for a stretch longer than play.

    While most plays have ended, :func:`begins` draws about the same. Once few of them end, those few are
    still in half of the questions, and a reward that pays a new way of falling is corrected.
    """
    observations = facts.context[OBSERVATIONS]
    moves = (observations[:, 1:] != observations[:, :-1]).any(-1)
    starts = observations.shape[1] - length
    if starts < 1:
        raise ValueError(f"stretches of {length} steps do not fit into play of {observations.shape[1] - 1}")
    begins_moving, ends_still = moves[:, :starts], ~moves[:, length - 1 : length - 1 + starts]

    def draw(allowed: Tensor) -> Tensor:
        weight = allowed.flatten().float()
        weight = weight if bool(weight.any()) else torch.ones_like(weight)
        return torch.multinomial(weight, count, replacement=True, generator=generator)

    half = torch.rand(count, generator=generator) < 0.5
    chosen = torch.where(half, draw(begins_moving), draw(ends_still))
    return chosen // starts, chosen % starts


def partners(group: Tensor, rows: Tensor, generator: torch.Generator) -> Tensor:
    """[n]: for each of the rows another one of its group. Raises ValueError for a row alone in its group."""
    others = group[rows][:, None] == group[None, :]
    others[torch.arange(len(rows)), rows] = False
    if not bool(others.any(1).all()):
        raise ValueError("same_start compares plays that began alike: expected a group_size of at least 2")
    return torch.multinomial(others.float(), 1, generator=generator)[:, 0]
