"""What annotators say of a world's answers besides which of two is better: rankings, outcomes, steps."""

from __future__ import annotations

import itertools
from dataclasses import replace

import torch
from torch import Tensor

from posttrain.core.batch import Policy, PreferenceBatch
from posttrain.core.preferences import ranked
from tests.oracle.prompts import WIDE, World, batch_of, drawn


def rankings(world: World, reference: Policy, count: int, size: int, offset: float) -> PreferenceBatch:
    """``size`` different answers of the reference, put in order by Plackett and Luce's annotator of the
    reward."""
    log_q, rows = world.logprobs(reference).detach(), []
    orders = torch.tensor(list(itertools.permutations(range(len(world.answers)), size)))
    for prompt in range(len(world.prompts)):
        r = world.rewards[prompt][orders]
        likely = log_q[prompt][orders].sum(1)
        for place in range(size):
            likely = likely + r[:, place] - r[:, place:].logsumexp(1)
        rows.append(orders[drawn(likely.exp(), count, offset)] + prompt * len(world.answers))
    facts = batch_of(world, torch.cat(rows))
    return ranked(facts, torch.arange(len(facts)) % size)


def ends(world: World, reference: Policy, count: int, offset: float) -> PreferenceBatch:
    """Answers of the reference, each said to be right with the log-odds of its reward."""
    log_q, n = world.logprobs(reference).detach(), len(world.answers)
    p = world.rewards.sigmoid()
    both = torch.stack([p, 1 - p], -1) * log_q.exp()[..., None]
    found = torch.cat([drawn(both[k].flatten(), count, offset) + 2 * n * k for k in range(len(both))])
    facts = batch_of(world, (found // 2)[:, None])
    return ranked(facts, found % 2)


def step_quality(world: World) -> Tensor:
    """[rows, T]: the log-odds that a step is right, one number for each token in each state."""
    state, token = world.facts.context["state"], world.facts.actions.clamp(min=0)
    return ((state * 7 + token * 3) % 5).to(WIDE) / 2 - 1


def right_steps(world: World, reference: Policy, count: int, offset: float) -> PreferenceBatch:
    """Answers of the reference; a step's label is the share of annotators who call it right."""
    log_q = world.logprobs(reference).detach()
    rows = torch.cat([drawn(q.exp(), count, offset) + k * len(world.answers) for k, q in enumerate(log_q)])
    facts = batch_of(world, rows[:, None])
    p = step_quality(world)[rows].sigmoid()
    said = ranked(facts, torch.zeros(len(facts), dtype=torch.long))
    return replace(said, labels=p)
