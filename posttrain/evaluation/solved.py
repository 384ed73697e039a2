"""A policy against the optimum, where the environment is a table and can be solved."""

from __future__ import annotations

from typing import Any, Protocol

import torch

from posttrain.environments.tabular import Table, policy_values, value_iteration
from posttrain.metrics import Metric, declare_metric

SHARE_OF_OPTIMUM = declare_metric(
    "share_of_optimum",
    "Expected discounted return of the policy over that of the best there is, both computed and not sampled.",
    unit="share of the optimum",
    better="up",
    title="share of the optimum",
)
VALUE = declare_metric(
    "value/{play}",
    "Expected discounted return, computed from the environment's table, of: {play}.",
    unit="discounted return",
    better="up",
)
LARGEST_RISE = declare_metric(
    "largest_rise",
    "Largest rise of the likeliest action from one state to the next; a policy of a threshold has none "
    "above 0.",
    unit="actions",
    better="down",
)
ACTION = declare_metric(
    "action/{state}",
    "Mean action that the policy takes in state {state}.",
    unit="action",
    better="none",
)


class Solvable(Protocol):
    """An environment that can be written down; its observations are states, one-hot."""

    def table(self) -> Table: ...


@torch.no_grad()
def against_the_optimum(world: Solvable, actor: Any, gamma: float) -> dict[str, Metric]:
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
    metrics = SHARE_OF_OPTIMUM.of(value_of_policy / best)
    for play, value in (("policy", value_of_policy), ("optimum", best), ("random", chance)):
        metrics |= VALUE.of(value, play=play)
    metrics |= LARGEST_RISE.of(float(policy.argmax(-1).diff().max()))
    for name, value in zip(names, mean, strict=True):
        metrics |= ACTION.of(float(value), state=str(name))
    return metrics
