"""One optimizer update from any number of micro-batches. The only place that calls ``backward``."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from posttrain.core.batch import Experience, PreferenceBatch, Reduction, Rollouts, Term, take
from posttrain.core.masked import last_step
from posttrain.core.reduction import maximum
from posttrain.metrics import declare_metric
from posttrain.training.optimizer import Optimizer

LOSS = declare_metric(
    "loss",
    "All terms of the loss with their coefficients, of the optimizer's batch.",
    unit="loss",
    better="none",
    title="Loss",
)

Past = Experience | PreferenceBatch


@dataclass(frozen=True)
class Part:
    """A batch with what to compute on it; an update may mix several (pretraining text into PPO)."""

    past: Any  # Experience | PreferenceBatch: rows first
    forward: Callable[[Any], Any]  # of a slice of past: Evaluation, or scores [B, T]
    loss: Callable[[Any, Any], dict[str, Term]]  # (what forward gave, the same slice)
    coef: float = 1.0
    whole_groups: bool = False
    name: str = ""  # goes before the names of its terms


def cut(rollouts: Rollouts, micro_batch_tokens: int, whole_groups: bool = False) -> list[Tensor]:
    """Rows of each micro-batch, [rows] long: in order, of about equal size, at
    most ``micro_batch_tokens`` steps.

    A row counts its steps up to the last chosen one; the prompt that rows of one group share, the steps
    before their first chosen one, counts once. A row (or a whole group where groups stay whole) that is
    longer than the limit is a micro-batch of its own. The cut never changes an update, only its memory.
    """
    mask = rollouts.action_mask
    first, end = mask.long().argmax(1), last_step(mask) + 1
    return cut_rows(first, end, rollouts.group, micro_batch_tokens, whole_groups)


def cut_rows(
    first: Tensor, end: Tensor, group: Tensor, micro_batch_tokens: int, whole_groups: bool = False
) -> list[Tensor]:
    """``cut`` of rows with these first chosen steps, ends (one after the last chosen step) and groups,
    each [B] long.
    """
    if micro_batch_tokens < 1:
        raise ValueError(f"micro_batch_tokens is {micro_batch_tokens}, expected at least 1")
    rows = torch.arange(len(end), device=end.device)
    if int(end.sum()) <= micro_batch_tokens or len(end) <= 1:
        return [rows]
    if whole_groups:
        rows = group.argsort(stable=True)
    group, alone = group[rows], end[rows]  # alone: the steps of a row without a shared prompt
    prompt = first[rows]
    again = torch.where(group[1:] == group[:-1], torch.minimum(prompt[1:], prompt[:-1]), 0)
    after_previous = torch.cat([alone[:1], alone[1:] - again])
    unit = group.unique_consecutive(return_inverse=True)[1] if whole_groups else torch.arange(len(rows))
    unit = unit.to(end.device)
    sizes = torch.zeros(int(unit[-1]) + 1, dtype=torch.long, device=end.device).index_add(
        0, unit, after_previous
    )
    each = sizes if whole_groups else alone
    left, pieces = int(sizes.sum()), -(-int(sizes.sum()) // micro_batch_tokens)
    bounds, used = [], 0
    for index, (size, fresh) in enumerate(zip(sizes.tolist(), each.tolist(), strict=True)):
        if used and (used + size > micro_batch_tokens or used + size / 2 > left / pieces):
            bounds.append(index)
            left, pieces, used, size = left - used + fresh - size, max(pieces - 1, 1), 0, fresh
        used += size
    edges = torch.searchsorted(unit, torch.tensor(bounds, dtype=torch.long, device=unit.device))
    return list(rows.tensor_split(edges.cpu()))


def update(optimizer: Optimizer, parts: list[Part], micro_batch_tokens: int) -> dict[str, float]:
    """Accumulate the gradient of all parts, clip it per parameter group, step.

    Returns:
        The sum of each term over the batch by its name, ``loss``, and the optimizer's metrics.

    Raises:
        FloatingPointError: a gradient is not finite; weights and optimizer are as they were.
    """
    metrics: dict[str, Tensor] = {}
    optimizer.zero()
    for part in parts:
        with in_one_order(part.past.rollouts.action_mask.device):
            _accumulate(part, micro_batch_tokens, metrics)
    names = list(metrics)
    values = torch.stack([metrics[name] for name in names]).tolist()
    report = dict(zip(names, values, strict=True))
    return report | optimizer.step(report)


@torch.no_grad()
def totals(part: Part, micro_batch_tokens: int) -> dict[str, float]:
    """What ``update`` would report of a part's terms and of its ``loss``; nothing is learned."""
    metrics: dict[str, Tensor] = {}
    with in_one_order(part.past.rollouts.action_mask.device):
        _accumulate(part, micro_batch_tokens, metrics)
    return {name: float(value) for name, value in metrics.items()}


@contextmanager
def in_one_order(device: torch.device) -> Iterator[None]:
    """Sums on a CPU in the same order every time: without this, threads add to a row that was read several
    times in the order in which they come.
    """
    if device.type != "cpu" or torch.are_deterministic_algorithms_enabled():
        yield
        return
    memory: Any = torch.utils.deterministic
    filled = memory.fill_uninitialized_memory
    torch.use_deterministic_algorithms(True, warn_only=True)
    memory.fill_uninitialized_memory = False  # nothing here reads what it did not write
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(False)
        memory.fill_uninitialized_memory = filled


def _accumulate(part: Part, micro_batch_tokens: int, metrics: dict[str, Tensor]) -> None:
    """Backward through each micro-batch of one part, where there is a graph; adds its
    terms to ``metrics``.
    """
    weights: dict[Reduction, Tensor] = {}
    slices = cut(part.past.rollouts, micro_batch_tokens, part.whole_groups)
    for rows in slices:
        micro_batch = part.past if len(slices) == 1 else take(part.past, rows)
        terms = part.loss(part.forward(micro_batch), micro_batch)
        loss: Tensor | None = None
        for name, term in terms.items():
            if term.reduction not in weights:
                weights[term.reduction] = term.reduction(part.past)
            weight = weights[term.reduction]
            amount = _amount(name, term, weight if len(slices) == 1 else weight[rows])
            _book(metrics, part.name + name, amount.detach(), term.reduction is maximum)
            if term.coef != 0:
                share = amount * (part.coef * term.coef)
                loss = share if loss is None else loss + share
        if loss is None:
            raise ValueError(f"no term of the loss has a coefficient: {', '.join(terms) or 'there are none'}")
        _book(metrics, LOSS.name, loss.detach(), False)
        if torch.is_grad_enabled():
            loss.backward()  # type: ignore[no-untyped-call]


def _amount(name: str, term: Term, weight: Tensor) -> Tensor:
    if weight.shape != term.values.shape:
        raise ValueError(
            f"term {name!r} has values of shape {tuple(term.values.shape)}, its weights {tuple(weight.shape)}"
        )
    if term.reduction is maximum:
        if term.coef != 0:
            raise ValueError(f"term {name!r} is a maximum: it is a metric and needs coef 0")
        return term.values.detach().masked_fill(weight == 0, float("-inf")).max()
    return (term.values * weight).sum()


def _book(metrics: dict[str, Tensor], name: str, amount: Tensor, largest: bool) -> None:
    amount = amount.double() if amount.device.type != "mps" else amount
    if name not in metrics:
        metrics[name] = amount
    else:
        metrics[name] = torch.maximum(metrics[name], amount) if largest else metrics[name] + amount
