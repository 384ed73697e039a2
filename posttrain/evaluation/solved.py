"""A policy against the optimum, where the environment is a table and can be solved."""

from __future__ import annotations

from typing import Any, Protocol

import torch

from posttrain.environments.tabular import Table, policy_values, value_iteration


class Solvable(Protocol):
    """An environment that can be written down; its observations are states, one-hot."""

    def table(self) -> Table: ...


@torch.no_grad()
def against_the_optimum(world: Solvable, actor: Any, gamma: float) -> dict[str, float | int | str]:
    """Exact expected discounted returns from the start states: ``value/policy``, ``value/optimum``,
    ``value/random`` and ``share_of_optimum``.

    ``action/STATE`` is the policy's mean action in a state, and ``largest_rise`` the largest rise of the most
    likely action from one state to the next. (The rise of the mean action would mostly show the randomness in
    states that are rare or whose actions have equal value.)
    """
    table = world.table()
    states, actions = table.rewards.shape
    policy = actor.logits(torch.eye(states)).double().softmax(-1)
    start = table.start
    value_of_policy = float(start @ policy_values(table, policy, gamma))
    best = float(start @ value_iteration(table, gamma)[0])
    chance = float(start @ policy_values(table, torch.full_like(policy, 1 / actions), gamma))
    mean = policy @ torch.arange(actions, dtype=policy.dtype)
    names = getattr(world, "degrees", range(states))
    return {
        "share_of_optimum": value_of_policy / best,
        "value/policy": value_of_policy,
        "value/optimum": best,
        "value/random": chance,
        "largest_rise": float(policy.argmax(-1).diff().max()),
        **{f"action/{name}": float(value) for name, value in zip(names, mean, strict=True)},
    }
