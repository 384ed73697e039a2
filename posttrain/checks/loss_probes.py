"""A look at a method's own loss before the first update, on a few rows of the real model: whether
micro-batches add up to the batch, and whether the KL keeps the policy near its reference.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from posttrain.core.batch import Evaluation, Rollouts, take
from posttrain.pipeline.finding import Finding
from posttrain.training.update import Part, totals

WHOLE, ALONE = 1 << 40, 1  # tokens of a micro-batch: all rows, or one row (one group, where these stay whole)
AGREES, LEAST = 1e-3, 0.1  # of the loss, at least of the second number: losses are float32, off by some 1e-6
ROW = "probe_row"  # in a context: which row of the batch this is


def adds_up(part: Part) -> Finding:
    """Whether the loss of a few rows is the same in one micro-batch as in the smallest ones there are.

    The model reads the rows once, all together, and each micro-batch is given its share of that: what the
    model's own rounding does in other company is not the loss's fault, and is looked at elsewhere.
    """
    rollouts = part.past.rollouts
    numbers = torch.arange(len(rollouts), device=rollouts.actions.device)
    numbered = replace(part.past, rollouts=replace(rollouts, context={**rollouts.context, ROW: numbers}))
    with torch.no_grad():
        read = part.forward(part.past)

    given = replace(part, past=numbered, forward=lambda past: _rows(read, past.rollouts.context[ROW]))
    whole, split = (totals(given, tokens)["loss"] for tokens in (WHOLE, ALONE))
    limit = AGREES * max(abs(whole), LEAST)
    rows = len(part.past.rollouts)
    return Finding(
        name="micro_batches_add_up",
        value=abs(whole - split),
        threshold=limit,
        passed=abs(whole - split) <= limit,  # NaN does not pass
        evidence=f"the loss of {rows} rows is {whole:.6g} in one micro-batch and {split:.6g} in the smallest",
        advice="a part of the loss is a mean over its micro-batch: give it to a Term, whose reduction "
        "(posttrain.core.reduction) is asked of the whole batch",
    )


def _rows(read: Any, rows: Tensor) -> Any:
    """The given rows of what a model's forward gave: a record, a tensor, or several of them."""
    if isinstance(read, tuple):
        return tuple(_rows(one, rows) for one in read)
    return read[rows] if isinstance(read, Tensor) else take(read, rows)


def holds_back(method: Any, rollouts: Rollouts, before: Evaluation) -> Finding:
    """Whether the loss pushes an answer down that the policy finds likelier than the reference does. The
    reference is made up: the policy itself, then one that finds each token of the first row 1 nat less
    likely. Nothing is paid and no value expected, so what moves the row is the KL. An estimator whose
    gradient is 0 (k1 in the loss) passes.
    """
    kl = getattr(method, "kl", None)
    if kl is None or kl.coef == 0:
        return Finding(name="kl_holds_back", value=0.0, evidence="no KL is charged")
    nothing = torch.zeros_like(rollouts.rewards)
    unpaid = replace(rollouts, rewards=nothing, greedy=None if rollouts.greedy is None else nothing[:, 0])
    away = torch.zeros_like(before.logprobs)
    away[0] = 1.0
    near, far = (_push(method, unpaid, before, far_off) for far_off in (torch.zeros_like(away), away))
    nats = min(far[0] - near[0], far[1])
    least = -1e-6 * (abs(near[0]) + 1)
    return Finding(
        name="kl_holds_back",
        value=nats,
        threshold=0.0,
        passed=nats >= least,
        evidence="for an answer that the policy finds 1 nat a token likelier than the reference does, the KL "
        f"adds {nats:.3g} to the derivative of the loss by its log-probability, or by its exact KL; expected "
        "is 0 or more",
        advice="the KL pays for going away: its sign is turned, or policy and reference have changed places",
    )


def _push(method: Any, rollouts: Rollouts, before: Evaluation, away: Tensor) -> tuple[float, float]:
    """The derivatives of the loss by the log-probabilities of the first row, and by its exact KL, 0 where
    there is none, if the reference is ``away`` [B, T] nats from the policy.
    """
    exact = before.kl is not None
    still = replace(before, kl=away.clone() if exact else None)
    if before.values is not None:
        still = replace(still, values=torch.zeros_like(before.values))
    if before.bootstrap is not None:
        still = replace(still, bootstrap=torch.zeros_like(before.bootstrap))
    past = method.credit(rollouts, still, Evaluation(logprobs=before.logprobs - away))
    with torch.enable_grad():
        moved = [before.logprobs.detach().clone().requires_grad_()]
        moved += [away.clone().requires_grad_()] if exact else []
        now = replace(still, logprobs=moved[0], kl=moved[1] if exact else None)
        terms = [term for term in method.loss(now, past).values() if term.coef != 0]
        loss = sum(term.coef * (term.values * term.reduction(past)).sum() for term in terms)
        gradients = torch.autograd.grad(loss, moved, allow_unused=True)  # type: ignore[arg-type]
    chosen = rollouts.action_mask[0]
    both = [0.0 if one is None else float(one[0][chosen].sum()) for one in gradients]
    return both[0], both[1] if exact else 0.0
