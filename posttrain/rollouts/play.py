"""A policy plays many copies of an environment at once; each copy's play is a row."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from posttrain.core.batch import Rollouts
from posttrain.core.masked import last_step, masked_sum
from posttrain.core.seeds import derive
from posttrain.environments.base import Environment
from posttrain.models.mlp import OBSERVATIONS


class Actor(Protocol):
    """What plays: observations in, logits out."""

    def logits(self, observations: Tensor) -> Tensor:
        """[B, D] -> [B, A]."""


@torch.no_grad()
def play(
    environment: Environment,
    actor: Actor,
    seeds: Sequence[int],
    *,
    temperature: float = 1.0,
    version: int = -1,
    groups: Sequence[int] | None = None,
) -> Rollouts:
    """One row for each seed, from a start to the end or to ``environment.limit``.

    A row that did not end by itself is ``truncated``: what it would still have earned is its bootstrap. The
    seed of a row decides its start (the seed of its group, where there are ``groups``) and its chances, so
    a row does not depend on the batch that it is in. ``temperature`` 0 takes the likeliest action and says
    so by log-probabilities of 0. ``parts["return"]`` is the sum of the environment's own rewards.
    """
    if temperature < 0:
        raise ValueError(f"temperature is {temperature}, expected 0 or more")
    numbers = list(range(len(seeds))) if groups is None else list(groups)
    envs = environment.open([derive(seeds[numbers.index(number)], "start") for number in numbers])
    chances = np.stack([np.random.default_rng(derive(s, "act")).random(environment.limit) for s in seeds])
    draws = torch.from_numpy(chances.astype(np.float32))
    observations, steps = [envs.observation], list[tuple[Tensor, ...]]()
    alive, truncated = (torch.full((len(seeds),), fill, dtype=torch.bool) for fill in (True, False))
    for time in range(environment.limit):
        actions, logprobs = _act(actor.logits(observations[-1]), draws[:, time], temperature)
        result = envs.step(actions)
        steps.append((actions, alive, logprobs, result.reward))
        observations.append(torch.where(alive[:, None], result.observation, observations[-1]))
        truncated |= alive & result.truncated
        alive = alive & ~result.terminated & ~result.truncated
        if not bool(alive.any()):
            break
    taken, mask, logprobs, rewards = (torch.stack(column, 1) for column in zip(*steps, strict=True))
    rewards = rewards.masked_fill(~mask, 0.0)
    return Rollouts(
        context={OBSERVATIONS: torch.stack(observations, 1)},
        actions=taken,
        action_mask=mask,
        turn=(torch.arange(mask.shape[1]) // environment.decision).expand_as(taken).clone(),
        logprobs=logprobs.masked_fill(~mask, float("nan")),
        rewards=rewards,
        truncated=alive | truncated,
        group=torch.tensor(numbers),
        temperature=torch.full((len(seeds),), temperature or 1.0),
        version=torch.full((len(seeds),), version),
        parts={"return": rewards.sum(1)},
    )


def _act(logits: Tensor, chances: Tensor, temperature: float) -> tuple[Tensor, Tensor]:
    """[B, A] and [B] -> actions and their log-probabilities, [B] each."""
    if temperature == 0:
        best = logits.argmax(-1)
        return best, torch.zeros_like(chances)
    log_p = (logits / temperature).log_softmax(-1)
    below = (log_p.exp().cumsum(-1) <= chances[:, None]).sum(-1)
    actions = below.clamp(max=log_p.shape[-1] - 1)
    return actions, log_p.gather(-1, actions[:, None])[:, 0].float()


def paid_at_the_end(facts: Rollouts) -> Rollouts:
    """The same rows, each paid in one sum at its last chosen step."""
    mask = facts.action_mask
    last = torch.arange(mask.shape[1]) == last_step(mask)[:, None]
    total = masked_sum(facts.rewards, mask)[:, None]
    return replace(facts, rewards=torch.where(last & mask, total, 0.0))


class Player:
    """``player(step)`` is a batch of ``starts * group_size`` rows: a function of the arguments, the step and
    the actor's weights. ``version`` is of those weights; ``publish`` sets it.
    """

    def __init__(
        self,
        environment: Environment,
        actor: Actor,
        *,
        starts: int,
        group_size: int = 1,
        temperature: float = 1.0,
        seed: int = 0,
    ) -> None:
        if starts < 1 or group_size < 1 or not temperature > 0:
            raise ValueError(
                f"starts={starts}, group_size={group_size}, temperature={temperature}: expected at "
                "least 1, at least 1, and above 0"
            )
        self.environment, self.actor, self.temperature = environment, actor, temperature
        self.starts, self.group_size, self.seed = starts, group_size, seed
        self.version = 0

    def publish(self, version: int) -> None:
        """The actor has these weights now."""
        self.version = version

    def __call__(self, step: int) -> Rollouts:
        """The rows of a step; those of a group begin alike."""
        return self.wave(step, 0)

    def wave(self, step: int, number: int) -> Rollouts:
        """As many rows again, the ``number``-th lot: others than those of any other lot."""
        count = self.starts * self.group_size
        rows = range(number * count, (number + 1) * count)
        return play(
            self.environment,
            self.actor,
            [derive(self.seed, "play", step, row) for row in rows],
            temperature=self.temperature,
            version=self.version,
            groups=[row // self.group_size for row in rows],
        )
