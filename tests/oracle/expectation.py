"""What a method's gradient is on average: the sum over every batch that could have been sampled."""

from __future__ import annotations

import itertools
import math
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from posttrain.core.batch import Policy, Reduction, Rollouts, Wants
from posttrain.core.reduction import pair_mean, row_mean, row_total, sequence_mean, token_mean
from tests.oracle.converge import detached, greedy_rewards
from tests.oracle.prompts import WIDE, World, batch_of


def batches(world: World, policy: Policy, size: int, grouped: bool) -> list[tuple[Tensor, float]]:
    """Every batch of ``size`` rows (in any order) and its probability: answers to one prompt where
    ``grouped``, else to any."""
    log_p = world.logprobs(policy).detach() - math.log(len(world.prompts))
    n, found = len(world.answers), []
    pools = (
        [range(k * n, (k + 1) * n) for k in range(len(world.prompts))] if grouped else [range(log_p.numel())]
    )
    for pool in pools:
        for rows in itertools.combinations_with_replacement(pool, size):
            counts = [rows.count(row) for row in set(rows)]
            orders = math.factorial(size) / math.prod(math.factorial(c) for c in counts)
            each = log_p.flatten()[list(rows)].sum()
            if grouped:  # the prompt is drawn once
                each = each + (size - 1) * math.log(len(world.prompts))
            found.append((torch.tensor(rows), orders * float(each.exp())))
    return found


def weights(reduction: Reduction, facts: Rollouts, mean_length: float) -> Tensor:
    """The weights of a few rows of an infinite batch, times the rows of that batch over these."""
    rows, mask = len(facts), facts.action_mask.to(WIDE)
    if reduction is row_total:
        return mask / rows
    if reduction is row_mean:
        return torch.ones(rows, dtype=WIDE) / rows
    if reduction is pair_mean:
        return torch.ones(rows, dtype=WIDE)
    if reduction is sequence_mean:
        return mask / mask.sum(1, keepdim=True) / rows
    if reduction is token_mean:
        return mask / mean_length / rows
    length = [c.cell_contents for c in reduction.__closure__ or ()]  # type: ignore[attr-defined]
    assert len(length) == 1, f"say in the oracle what {reduction} is of an infinite batch"
    return mask / length[0] / rows


def mean_length(world: World, policy: Policy) -> float:
    count = world.per_prompt(world.facts.action_mask.sum(1).to(WIDE))
    return float((world.logprobs(policy).detach().exp() * count).sum(1).mean())


def expected_gradient(  # size: world, two policies, the method and its batches
    world: World,
    policy: Any,
    method: Any,
    reference: Policy,
    *,
    size: int = 1,
    grouped: bool = False,
    values: Tensor | None = None,
) -> Tensor:
    """[parameters]: the mean over all batches, each weighed by its probability.

    ``values`` [rows, T] stand for the critic before the update.
    """
    against = reference if method.wants.exact_kl else None
    average, greedy = mean_length(world, policy), greedy_rewards(world, policy)
    with torch.no_grad():
        anchor_of_all = reference.evaluate(world.facts, Wants(entropy=False))
    now_of_all = policy.evaluate(world.facts, method.wants, against)
    before_of_all = detached(now_of_all)
    if values is not None:
        before_of_all = replace(before_of_all, values=values)
    total = torch.zeros((), dtype=WIDE)
    for rows, probability in batches(world, policy, size, grouped):
        facts = batch_of(world, rows[None, :] if grouped else rows[:, None])
        known = {"logprobs": before_of_all.logprobs[rows], "greedy": greedy[rows // len(world.answers)]}
        facts = replace(facts, **known)
        before, anchor, now = (taken(x, rows) for x in (before_of_all, anchor_of_all, now_of_all))
        past = method.credit(facts, before, anchor)
        for term in method.loss(now, past).values():
            if term.coef:
                weight = weights(term.reduction, facts, average)
                total = total + probability * term.coef * (weight * term.values).sum()
    parameters = policy.policy_parameters()
    grads = torch.autograd.grad(total, parameters, allow_unused=True)
    return torch.cat(
        [(torch.zeros_like(p) if g is None else g).flatten() for p, g in zip(parameters, grads, strict=True)]
    )


def taken(record: Any, rows: Tensor) -> Any:
    return type(record)(**{k: None if v is None else v[rows] for k, v in vars(record).items()})


def gradient(value: Tensor, policy: Any) -> Tensor:
    """[parameters] of a scalar."""
    grads = torch.autograd.grad(value, policy.policy_parameters())
    return torch.cat([g.flatten() for g in grads])
