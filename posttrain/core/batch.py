"""The records of each phase: rollouts, their evaluation, their worth, and preferences about them.

Shapes: B rows, T steps. A CartPole episode, a completion and a tool-using conversation are the same record:
step t is the choice of ``actions[:, t]`` after ``context[..., : t + 1]``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, fields, replace
from typing import Any, Protocol, TypeVar

import torch
from torch import Tensor

Record = TypeVar("Record")
Reduction = Callable[[Any], Tensor]  # of the whole optimizer batch: Experience or PreferenceBatch


def _take(value: Any, rows: Any) -> Any:
    if isinstance(value, Tensor):
        return value[rows]
    if isinstance(value, dict):
        return {name: _take(item, rows) for name, item in value.items()}
    if hasattr(value, "__dataclass_fields__"):
        return take(value, rows)
    return value


def take(record: Record, rows: Any) -> Record:
    """The given rows (index tensor, boolean mask or slice) of a record, nested records included."""
    return replace(record, **{f.name: _take(getattr(record, f.name), rows) for f in fields(record)})  # type: ignore[type-var, arg-type]


@dataclass(frozen=True, kw_only=True)
class Rollouts:
    """Facts about B rows of T steps; never edited."""

    context: dict[str, Tensor]  # tokens [B, T+1] or observations [B, T+1, ...]; only a policy reads it
    actions: Tensor  # [B, T]
    action_mask: Tensor  # [B, T] bool: the policy chose this step (not prompt, tool output, padding)
    turn: Tensor  # [B, T] long: which decision a step belongs to
    logprobs: Tensor  # [B, T] float32, of the sampler at its temperature; NaN where unknown
    rewards: Tensor  # [B, T]
    truncated: Tensor  # [B] bool: stopped by a limit, not by itself
    group: Tensor  # [B] long: rows that answer the same prompt share a number
    temperature: Tensor  # [B] evaluate() divides the logits by it
    version: Tensor  # [B] long: the weights that sampled it; -1 is another model
    greedy: Tensor | None = None  # [B] reward of the greedy answer to the same prompt; NaN if not scored
    parts: dict[str, Tensor] = field(
        default_factory=dict
    )  # [B] each: named rewards, gold; losses never read them

    def __len__(self) -> int:
        return self.actions.shape[0]


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """What a model computes of rollouts. Entries outside ``action_mask`` have no meaning."""

    logprobs: Tensor  # [B, T]
    entropy: Tensor | None = None  # [B, T]
    values: Tensor | None = None  # [B, T]: value of the state in which step t was chosen
    bootstrap: Tensor | None = None  # [B]: value of the state after the last step
    kl: Tensor | None = None  # [B, T]: exact KL of the step's distribution from ``against``'s


@dataclass(frozen=True, kw_only=True)
class Experience:
    """What each step was worth."""

    rollouts: Rollouts
    before: Evaluation
    reference: Evaluation | None = None
    advantages: Tensor  # [B, T]
    returns: Tensor | None = None  # [B, T]
    weights: Tensor  # [B, T]; 0 drops a step


@dataclass(frozen=True, kw_only=True)
class PreferenceBatch:
    """Rows with labels: the rank of each among the rows of its group, and outcome or process labels."""

    rollouts: Rollouts
    reference: Evaluation | None = None
    rank: Tensor  # [B] long: rank in the group, 0 best; alone: 0 wanted, 1 unwanted; -1 measured only
    confidence: Tensor  # [B] in (0, 1]
    margin: Tensor  # [B]
    baseline: Tensor | None = None  # [B]
    labels: Tensor | None = None  # [B, T]; NaN without a label


@dataclass(frozen=True)
class Term:
    """An unreduced part of a loss. ``reduction(the whole optimizer batch)`` gives its weight tensor,
    rows first like ``values``; the part contributes ``coef * sum(weight * values)``. A metric has coef 0.

    What belongs to a pair is booked on the row that won it, so rows are all that is ever sliced."""

    values: Tensor  # [B, T] or [B]
    reduction: Reduction
    coef: float = 1.0


@dataclass(frozen=True, kw_only=True)
class Wants:
    """What a method needs computed; nothing else is."""

    values: bool = False  # a critic
    reference: bool = False  # the reference's log-probabilities
    before: bool = True  # the trainer's log-probabilities before the first update
    exact_kl: bool = False
    entropy: bool = True  # reported
    entropy_gradient: bool = False
    group: bool = False  # several answers to each prompt, to be compared
    greedy: bool = False  # Rollouts.greedy
    teacher: bool = False  # the reference is another model, and no start to stay near
    whole_groups: bool = False  # micro-batches are cut between groups
    measure: bool = False
    refills: int = 0  # how often other prompts are asked in place of rows that ``informative`` leaves out


class Policy(Protocol):
    def evaluate(self, rollouts: Rollouts, wants: Wants, against: Policy | None = None) -> Evaluation: ...


class PolicyGradient(Protocol):
    @property
    def wants(self) -> Wants: ...
    @property
    def epochs(self) -> int: ...  # how often each rollout is used
    @property
    def minibatches(self) -> int: ...  # optimizer batches an epoch is cut into
    def keep(self, rollouts: Rollouts) -> Tensor: ...
    def credit(
        self, rollouts: Rollouts, before: Evaluation, reference: Evaluation | None
    ) -> Experience | PreferenceBatch: ...
    def loss(self, now: Evaluation, experience: Any) -> dict[str, Term]: ...


class Refilling(Protocol):
    """A policy gradient with ``wants.refills`` above 0."""

    def informative(self, rollouts: Rollouts) -> Tensor:
        """[B] bool: rows that need no other prompt in their place."""


class DirectAlignment(Protocol):
    @property
    def wants(self) -> Wants: ...
    def measure(self, now: Evaluation, batch: PreferenceBatch) -> PreferenceBatch:
        """With a baseline. Of a row it reads the rank and the log-ratio, so that any number fit in memory."""

    def loss(self, now: Evaluation, batch: PreferenceBatch) -> dict[str, Term]: ...


class RewardLoss(Protocol):
    @property
    def wants(self) -> Wants: ...
    def loss(self, scores: Tensor, batch: PreferenceBatch) -> dict[str, Term]: ...


def concatenate(records: list[Record]) -> Record:
    """Rows of several records of equal T, one after another; ``None`` must be ``None`` in all."""
    first = records[0]
    values: dict[str, Any] = {}
    for f in fields(first):  # type: ignore[arg-type]
        column = [getattr(record, f.name) for record in records]
        if isinstance(column[0], Tensor):
            values[f.name] = torch.cat(column)
        elif isinstance(column[0], dict):
            values[f.name] = {name: torch.cat([item[name] for item in column]) for name in column[0]}
        elif hasattr(column[0], "__dataclass_fields__"):
            values[f.name] = concatenate(column)
        else:
            values[f.name] = column[0]
    return replace(first, **values)  # type: ignore[type-var]
